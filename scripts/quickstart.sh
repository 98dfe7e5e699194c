#!/bin/sh
# The main job on images drawn in code: export, train, evaluate, predict.
# Needs bin/residual (make build).
set -eu
cd "$(dirname "$0")/.."

residual=bin/residual
model=models/quickstart
images=build/quickstart-images
run=runs/quickstart-$(date +%Y%m%d-%H%M%S)

step() { printf '\n== %s\n' "$*"; }

step "Export: the article's ResNet50 from Keras, once"
if scripts/made-by-this.sh "$model"; then
	echo "$model is there already"
else
	rm -rf "$model"
	echo "Upsampling is 1 here, not the article's 7, so that two cores train it in minutes; it is the same network."
	$residual export --out "$model" --upsample 1
	scripts/made-by-this.sh --note "$model"
fi

step "Train: 5 epochs of 3,000 drawn images, batch 32, from random weights"
$residual train --model "$model" --data synthetic --limit 3000 --batch-size 32 --epochs 5 --out "$run"

echo "(Test accuracy lags behind in the first few hundred steps: BatchNorm's moving averages are still filling.)"

step "Evaluate: 1,000 test images, none of which was trained on"
$residual evaluate --model "$run" --data synthetic

step "Predict: a drawn test image of each class, by its folder's name (a class is a pattern here, not an animal)"
if [ ! -e "$images" ]; then
	$residual data unpack --data synthetic --limit 10 --out "$images"
fi
$residual predict --model "$run" --top 1 "$images"/test/*/*.png

awk -F, 'END { exit !($6 >= 0.6) }' "$run/metrics.csv" || {
	echo "The test accuracy is below 60 %: something is wrong with this machine or this checkout" >&2
	exit 1
}

step "Done"
echo "run directory         $run"
echo "training curve        $run/plots/training.png"
echo "confusion matrix      $run/plots/confusion.png"
echo "next, on real images  $residual export --out models/resnet50"
echo "                      $residual train --model models/resnet50 --data cifar10"
echo "next, as a server     $residual serve --model first=$run"
echo "                      curl --data-binary @$images/test/cat/0001.png localhost:8501/v1/models/first:classify"
