#!/bin/sh
# Images a second on a GPU: training and predictions of the ResNet50 recipe at 224x224, in each precision, with XLA and
# without, at several batch sizes; memory, share of what a matrix product reaches there. A table for docs/performance.md
# is at the end, and in build/bench/gpu.md.
#   RESIDUAL_BENCH_DEVICE=cpu BATCHES=2 STEPS=2 UPSAMPLE=1 IMAGES=64 scripts/bench_gpu.sh     tries it on a CPU
# Time to a test accuracy: TARGET=0.8 adds a training in bfloat16, of at most EPOCHS epochs (30) on DATA (cifar10).
set -eu
cd "$(dirname "$0")/.."
device=${RESIDUAL_BENCH_DEVICE:-gpu}
batches=${BATCHES:-64 256 512}
steps=${STEPS:-20}
upsample=${UPSAMPLE:-7}
mkdir -p build/bench
bin/residual doctor
for precision in float32 bfloat16 float16; do
	model=build/bench/gpu-$precision-$upsample
	scripts/made-by-this.sh "$model" && continue
	rm -rf "$model"
	bin/residual export --out "$model" --precision "$precision" --upsample "$upsample" >/dev/null
	scripts/made-by-this.sh --note "$model"
done
out=build/bench/gpu.jsonl
: >"$out"
measure() { # measure MODEL NAME FLAG…
	model=$1 name=$2
	shift 2
	for batch in $batches; do
		for xla in "" --xla; do
			echo "$name ${xla:+XLA }$batch" >&2
			bin/residual bench --model "$model" --train --predict --batch-size "$batch" --steps "$steps" --device "$device" --json --quiet $xla "$@" >build/bench/one.json ||
				{ echo "failed" >&2; continue; }
			printf '{"name":"%s","xla":"%s","result":%s}\n' "$name" "$xla" "$(cat build/bench/one.json)" >>"$out"
		done
	done
}
measure build/bench/gpu-float32-"$upsample" float32
measure build/bench/gpu-float32-"$upsample" TF32 --precision tf32
measure build/bench/gpu-bfloat16-"$upsample" bfloat16
measure build/bench/gpu-float16-"$upsample" float16
bin/residual doctor --json >build/bench/doctor.json || true
.venv/bin/python benchmarks/gpu_table.py "$out" build/bench/doctor.json | tee build/bench/gpu.md

# Short steps, at 32x32: batches that are fed, and data that are held there, in turns. A median has no first steps,
# which compile.
short=build/bench/gpu-float32-1 batch=${batches%% *} rates=build/bench/held.txt
scripts/made-by-this.sh "$short" || {
	rm -rf "$short"
	bin/residual export --out "$short" --precision float32 --upsample 1 >/dev/null
	scripts/made-by-this.sh --note "$short"
}
: >"$rates"
for turn in 1 2 3; do
	for hold in off on; do
		echo "--hold-data $hold, turn $turn" >&2
		rm -rf build/bench/held
		bin/residual train --model "$short" --data synthetic --limit "${IMAGES:-5000}" --epochs 3 --batch-size "$batch" --drop-last --device "$device" \
			--hold-data "$hold" --out build/bench/held --quiet >/dev/null
		awk -F, -v hold="$hold" '
			NR == 1 { for (i = 1; i <= NF; i++) at[$i] = i; next }
			$at["epoch"] > 1 { print hold, $at["images_per_second"] }
		' build/bench/held/steps.csv | sort -k 2 -n |
			awk '{ all[NR] = $0 } END { print all[int((NR + 1) / 2)] }' >>"$rates"
	done
done
{
	printf '\nTraining at 32x32, batch %s, median images/s of three runs each in turns: ' "$batch"
	awk '{ found[$1] = found[$1] " " sprintf("%.1f", $2) } END { printf "fed%s; held%s.\n", found["off"], found["on"] }' "$rates"
} | tee -a build/bench/gpu.md

if [ -n "${TARGET-}" ]; then
	run=build/bench/gpu-run
	rm -rf "$run"
	bin/residual train --model build/bench/gpu-bfloat16-"$upsample" --data "${DATA:-cifar10}" --out "$run" --epochs "${EPOCHS:-30}" \
		--batch-size 256 --learning-rate 0.1 --warmup 500 --schedule cosine --drop-last --device "$device" ${XLA:+--xla}
	awk -F, -v target="$TARGET" '
		NR == 1 { for (i = 1; i <= NF; i++) at[$i] = i; next }
		{ seconds += $at["seconds"]; accuracy = $at["test_accuracy"]; if (accuracy >= target) exit }
		END { printf "\nTest accuracy %.4f after %d epochs and %.0f s (wanted %s).\n", accuracy, NR - 1, seconds, target }
	' "$run/metrics.csv" | tee -a build/bench/gpu.md
fi
