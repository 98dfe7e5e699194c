package cli_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/residual-go/residual/savedmodel/modeltest"
)

// refused checks that a command ended with this exit code and one sentence
// that names all of wants, and that it printed no result.
func refused(t *testing.T, o outcome, code int, wants ...string) {
	t.Helper()
	sentence, rest, _ := strings.Cut(o.stderr, "\n")
	hint := ""
	if code == 2 {
		hint = "try: residual"
	}
	if o.code != code || o.stdout != "" || !strings.HasPrefix(sentence, "residual: ") ||
		(rest == "") != (hint == "") || !strings.HasPrefix(rest, hint) || strings.Count(rest, "\n") > 1 {
		t.Errorf("exit code %d, want %d and one sentence\nstdout: %q\nstderr:\n%s", o.code, code, o.stdout, o.stderr)
	}
	for _, want := range wants {
		if !strings.Contains(sentence, want) {
			t.Errorf("%q is not in: %s", want, sentence)
		}
	}
}

func TestWrongUsage(t *testing.T) {
	t.Chdir(t.TempDir())
	check := unchanged(t, ".")
	for _, test := range []struct {
		args  string
		wants []string
		hint  string // the command whose help is pointed at
	}{
		{"trian", []string{`there is no command "trian"`}, ""},
		{"help nosuch", []string{`"nosuch"`}, ""},
		{"--quiet", []string{`there is no flag "--quiet"`}, ""},
		{"--quiet train", []string{`there is no flag "--quiet"`}, ""},
		{"data peek", []string{`there is no command "peek"`}, "data"},
		{"data --quiet", []string{`there is no flag "--quiet"`}, "data"},
		{"train --momentum 0.9", []string{`there is no flag "--momentum"`}, "train"},
		{"data unpack --force", []string{`there is no flag "--force"`}, "data unpack"},
		{"predict cat.jpg --jsn", []string{`there is no flag "--jsn"`}, "predict"},

		{"train --data synthetic", []string{"--model is missing"}, "train"},
		{"train --model m", []string{"--data is missing", "cifar10", "synthetic"}, "train"},
		{"train --model= --data synthetic", []string{"--model is missing"}, "train"},
		{"evaluate --data synthetic", []string{"--model is missing"}, "evaluate"},
		{"evaluate --model m", []string{"--data is missing"}, "evaluate"},
		{"predict --model m", []string{"no image", "JPEG or PNG"}, "predict"},
		{"predict cat.jpg", []string{"--model is missing"}, "predict"},
		{"summary", []string{"--model is missing"}, "summary"},
		{"inspect", []string{"--model is missing"}, "inspect"},
		{"bench --train", []string{"--model is missing"}, "bench"},
		{"bench --model m", []string{"--train", "--predict"}, "bench"},
		{"data preview", []string{"--data is missing"}, "data preview"},
		{"data preview --data synthetic --out p.jpg", []string{`"p.jpg"`, "PNG"}, "data preview"},
		{"data preview --data synthetic --out=", []string{"--out is missing"}, "data preview"},
		{"data unpack --out u", []string{"--data is missing"}, "data unpack"},
		{"data unpack --data synthetic", []string{"--out is missing"}, "data unpack"},
		{"export", []string{"--out is missing"}, "export"},

		{"train --epochs", []string{"--epochs needs a value"}, "train"},
		{"predict cat.jpg --model", []string{"--model needs a value"}, "predict"},
		{"train --json=maybe", []string{"--json must be true or false", `"maybe"`}, "train"},

		{"train --model m --data synthetic extra", []string{`"extra"`}, "train"},
		{"evaluate --model m --data synthetic extra", []string{`"extra"`}, "evaluate"},
		{"summary --model m extra", []string{`"extra"`}, "summary"},
		{"inspect --model m extra", []string{`"extra"`}, "inspect"},
		{"inspect m extra", []string{`"extra"`}, "inspect"},
		{"bench --model m --train extra", []string{`"extra"`}, "bench"},
		{"doctor extra", []string{`"extra"`}, "doctor"},
		{"export --out e extra", []string{`"extra"`}, "export"},
		{"data preview --data synthetic extra", []string{`"extra"`}, "data preview"},
		{"data download extra", []string{`"extra"`}, "data download"},
		{"data unpack --data synthetic --out u extra", []string{`"extra"`}, "data unpack"},
		{"train help", []string{`"help"`}, "train"},

		{"train --model m --data synthetic --log comet", []string{"--log", "csv, tensorboard, wandb", `"comet"`}, "train"},
		{"train --model m --data synthetic --log=", []string{"--log", "csv, tensorboard, wandb", `""`}, "train"},
		{"train --model m --data synthetic --log tensorboard,,csv", []string{"--log", "csv, tensorboard, wandb", `""`}, "train"},
		{"train --model m --data synthetic --log tensorboard --project p", []string{"--project", "--log wandb"}, "train"},
		{"train --model m --data synthetic --name n", []string{"--name", "--log wandb"}, "train"},
		{"train --model m --data synthetic --wandb-sync", []string{"--wandb-sync", "--log wandb"}, "train"},
		{"train --model m --data synthetic --log wandb --project=", []string{"--project", `""`}, "train"},
		{"train --model m --data synthetic --log wandb --name n\xff", []string{"--name", "UTF-8"}, "train"},
		{"train --model m --data synthetic --log wandb --project a/b", []string{"--project", `"a/b"`}, "train"},
		{"train --model m --data synthetic --log wandb --name=", []string{"--name", "empty"}, "train"},

		{"train --model m --data synthetic --schedule step", []string{"--schedule", "constant, cosine, linear", `"step"`}, "train"},
		{"train --model m --data synthetic --resume", []string{"--resume", "--out"}, "train"},
		{"train --model m --data synthetic --resume=yes --out r", []string{"--resume", "auto", `"yes"`}, "train"},
		{"checkpoints list", []string{"one run directory", "0 arguments"}, "checkpoints list"},
		{"checkpoints list a b", []string{"one run directory", "2 arguments"}, "checkpoints list"},
		{"checkpoints export --from r --out m", []string{"one checkpoint"}, "checkpoints export"},
		{"checkpoints export last --out m", []string{"--from is missing"}, "checkpoints export"},
		{"checkpoints export last --from r", []string{"--out is missing"}, "checkpoints export"},
		{"checkpoints export newest --from r --out m", []string{"step, last or best", `"newest"`}, "checkpoints export"},
		{"checkpoints export 12x --from r --out m", []string{"step, last or best", `"12x"`}, "checkpoints export"},

		{"train --model m --data synthetic --precision float16", []string{"--precision", "float32", "bfloat16", `"float16"`}, "train"},
		{"predict --model m --precision half cat.jpg", []string{"--precision", `"half"`}, "predict"},
	} {
		t.Run(test.args, func(t *testing.T) {
			o := run(strings.Fields(test.args)...)
			refused(t, o, 2, test.wants...)
			hint := strings.Join(strings.Fields("try: residual "+test.hint+" --help"), " ") + "\n"
			if !strings.HasSuffix(o.stderr, "\n"+hint) {
				t.Errorf("the hint is not %q:\n%s", hint, o.stderr)
			}
		})
	}
	check()
}

// Every number flag of every command, with every wrong number.
func TestWrongNumbers(t *testing.T) {
	small := modeltest.Dir(t, modeltest.Small)
	t.Chdir(t.TempDir())
	check := unchanged(t, ".")
	whole := []string{"nan", "inf", "-inf", "abc", "", "1.5", "1e3", "99999999999999999999"}
	positive := append([]string{"0", "-1", "-9223372036854775808"}, whole...)
	for _, test := range []struct {
		command string
		flags   []string
		numbers []string
	}{
		{"train --model M --data synthetic --out run", []string{"--epochs", "--limit", "--keep"}, positive},
		{"train --model M --data synthetic --out run", []string{"--warmup", "--plateau", "--early-stopping"}, append([]string{"-1"}, whole...)},
		{"train --model M --data synthetic --out run", []string{"--validation-split"}, []string{"0", "1", "-0.5", "nan", "inf", "abc", "", "1e-400x"}},
		{"train --model M --data synthetic --out run", []string{"--checkpoint-every"}, []string{"0", "-1", "-5m", "0s", "abc", "", "1.5", "nan", "5 m"}},
		{"train --model M --data synthetic --out run", []string{"--max-time"}, []string{"0", "-1s", "5", "abc", "", "nan", "1e400h"}},
		{"train --model M --data synthetic --out run", []string{"--batch-size"}, append([]string{"1048577", "9223372036854775807"}, positive...)},
		{"train --model M --data synthetic --out run", []string{"--accumulate"}, append([]string{"1048577", "9223372036854775807"}, positive...)},
		{"train --model M --data synthetic --out run", []string{"--upsample-schedule"},
			append([]string{"17", "3,,5", ",", "3,5,", "7x", "3 5", "1,2,3,4", "3,-5", "3;5"}, positive...)},
		{"train --model M --data synthetic --out run", []string{"--threads"}, append([]string{"1025", "9223372036854775807"}, positive...)},
		{"train --model M --data synthetic --out run", []string{"--seed"}, whole},
		{"train --model M --data synthetic --out run", []string{"--learning-rate"},
			[]string{"nan", "NaN", "inf", "+Inf", "-inf", "0", "-0", "-1", "abc", "", "1e39", "1e-60", "1e999"}},
		{"evaluate --model M --data synthetic", []string{"--limit", "--threads"}, positive},
		{"evaluate --model M --data synthetic", []string{"--batch-size"}, append([]string{"1048577"}, positive...)},
		{"predict --model M cat.jpg", []string{"--top", "--threads"}, positive},
		{"bench --model M --train", []string{"--steps", "--batch-size"}, append([]string{"1048577", "9223372036854775807"}, positive...)},
		{"bench --model M --train", []string{"--threads"}, append([]string{"1025"}, positive...)},
		{"data unpack --data synthetic --out u", []string{"--limit"}, positive},
		{"export --out e", []string{"--upsample", "--image-size", "--seed"}, whole},
	} {
		for _, flag := range test.flags {
			for _, number := range test.numbers {
				t.Run(test.command+" "+flag+" "+number, func(t *testing.T) {
					args := strings.Fields(strings.ReplaceAll(test.command, "M", small))
					o := run(append(args, flag, number)...)
					refused(t, o, 2, flag)
					if named := strings.TrimPrefix(number, "+"); !strings.Contains(strings.ToLower(o.stderr), strings.ToLower(named)) &&
						!strings.Contains(o.stderr, "e+") {
						t.Errorf("the value %q is not named: %s", number, o.stderr)
					}
				})
			}
		}
	}
	check()
}

// wrongInput is a command that fails over what it finds.
type wrongInput struct {
	name  string
	setup func(t *testing.T) // in the working directory
	args  string             // SMALL, PETS and FOREIGN are models
	wants []string
}

func (w wrongInput) run(t *testing.T) {
	models := map[string]string{}
	for word, model := range map[string]string{"SMALL": modeltest.Small, "PETS": modeltest.Pets, "FOREIGN": modeltest.Foreign} {
		models[word] = modeltest.Dir(t, model)
	}
	t.Chdir(t.TempDir())
	if w.setup != nil {
		w.setup(t)
	}
	args := strings.Fields(w.args)
	for i, arg := range args {
		if dir, ok := models[arg]; ok {
			args[i] = dir
		}
	}
	check := unchanged(t, ".")
	refused(t, run(args...), 1, w.wants...)
	check()
}

func TestWrongModels(t *testing.T) {
	const (
		index = "variables/variables.index"
		data  = "variables/variables.data-00000-of-00001"
	)
	// damaged copies the small model to the folder m and changes a file of it.
	damaged := func(file string, change func(string) string) func(*testing.T) {
		return func(t *testing.T) {
			if err := os.CopyFS("m", os.DirFS(modeltest.Dir(t, modeltest.Small))); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join("m", file)
			content := read(t, path)
			if change == nil {
				if err := os.Remove(path); err != nil {
					t.Fatal(err)
				}
				return
			}
			write(t, path, []byte(change(content)))
		}
	}
	cut := func(content string) string { return content[:len(content)-1] }
	replace := func(from, to string) func(string) string {
		return func(content string) string { return strings.Replace(content, from, to, 1) }
	}
	empty := func(t *testing.T) {
		if err := os.Mkdir("m", 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []wrongInput{
		{"not there", nil, "train --model nosuch --data synthetic", []string{`"nosuch"`, "no directory"}},
		{"a file", func(t *testing.T) { write(t, "m", nil) }, "train --model m --data synthetic", []string{`"m"`, "not a directory"}},
		{"an empty folder", empty, "evaluate --model m --data synthetic", []string{`"m"`, "saved_model.pb", "model/1"}},
		{"an empty folder, inspected", empty, "inspect m", []string{`"m"`, "saved_model.pb"}},
		{"no train signature", nil, "train --model FOREIGN --data synthetic", []string{"/foreign", `"train"`, "serving_default", "residual export"}},
		{"no evaluate signature", nil, "evaluate --model FOREIGN --data synthetic", []string{"/foreign", `"evaluate"`, "serving_default"}},
		{"no train signature to measure", nil, "bench --model FOREIGN --train", []string{"/foreign", `"train"`, "serving_default"}},
		{"no classes", func(t *testing.T) { write(t, "x.png", pngImage(t, 9, 9)) }, "predict --model FOREIGN x.png", []string{"/foreign", "classes", "residual.json"}},
		{"no classes to measure", nil, "bench --model FOREIGN --predict", []string{"/foreign", "classes", "residual.json"}},
		{"no layers", nil, "summary --model FOREIGN", []string{"/foreign", "layers", "residual.json"}},
		{"variables missing", damaged(data, nil), "train --model m --data synthetic", []string{"m/" + data, "no such file"}},
		{"variables missing, evaluated", damaged(data, nil), "evaluate --model m --data synthetic", []string{"m/" + data, "no such file"}},
		{"variables missing, asked", damaged(data, nil), "predict --model m x.png", []string{"m/" + data, "no such file"}},
		{"variables missing, measured", damaged(data, nil), "bench --model m --predict", []string{"m/" + data, "no such file"}},
		{"variables cut", damaged(data, cut), "train --model m --data synthetic", []string{"m/" + data, "was cut"}},
		{"index missing", damaged(index, nil), "train --model m --data synthetic", []string{"m/" + index, "no such file"}},
		{"index cut", damaged(index, cut), "inspect --model m", []string{"m/" + index, "not a checkpoint index"}},
		{"graph cut", damaged("saved_model.pb", cut), "summary --model m", []string{"m/saved_model.pb", "was cut"}},
		{"metadata cut", damaged("assets.extra/residual.json", func(content string) string { return content[:len(content)/2] }), "summary --model m", []string{"m/assets.extra/residual.json"}},
		{"metadata from tomorrow", damaged("assets.extra/residual.json", replace(`"format": 1`, `"format": 2`)), "train --model m --data synthetic", []string{"residual.json", "format is 2"}},
		{"images of other shape than described", damaged("assets.extra/residual.json", replace(`"height": 32`, `"height": 16`)),
			"train --quiet --model m --data synthetic --limit 10", []string{"m/assets.extra/residual.json", "[16 32 3]", "images uint8 [N,32,32,3]"}},
		{"images of other shape, evaluated", damaged("assets.extra/residual.json", replace(`"height": 32`, `"height": 16`)),
			"evaluate --quiet --model m --data synthetic --limit 10", []string{"m/assets.extra/residual.json", "[16 32 3]", "images uint8 [N,32,32,3]"}},
		{"images of one channel", damaged("assets.extra/residual.json", replace(`"channels": 3`, `"channels": 1`)),
			"train --model m --data synthetic", []string{"m/assets.extra/residual.json", "[32 32 1]", "images uint8 [N,32,32,3]"}},
		{"a resize of another rule", damaged("assets.extra/residual.json", replace("shorter-side-centre-crop", "pad")),
			"predict --model m x.png", []string{"m ", `"pad"`, `"shorter-side-centre-crop"`}},
		{"more classes than probabilities", func(t *testing.T) {
			write(t, "x.png", pngImage(t, 9, 9))
			damaged("assets.extra/residual.json", replace(`"airplane"`, `"kite", "airplane"`))(t)
		}, "predict --model m x.png", []string{"m/assets.extra/residual.json", "11 classes", "probabilities float32 [N,10]"}},
	} {
		t.Run(test.name, test.run)
	}
}

func TestWrongData(t *testing.T) {
	// pets makes good class folders and then spoils them.
	pets := func(spoil func(t *testing.T)) func(t *testing.T) {
		return func(t *testing.T) {
			petFolders(t, "pets")
			spoil(t)
		}
	}
	file := func(path string, content func(t *testing.T) []byte) func(t *testing.T) {
		return func(t *testing.T) { write(t, path, content(t)) }
	}
	removed := func(path string) func(t *testing.T) {
		return func(t *testing.T) {
			if err := os.RemoveAll(path); err != nil {
				t.Fatal(err)
			}
		}
	}
	bytesOf := func(text string) func(*testing.T) []byte { return func(*testing.T) []byte { return []byte(text) } }
	half := func(t *testing.T) []byte { file := jpegImage(t, 64, 64); return file[:len(file)/2] }
	emptyClass := func(t *testing.T) {
		removed("pets/train/dog")(t)
		write(t, "pets/train/dog/notes.txt", nil)
	}
	record := func(label byte) string { return string(label) + strings.Repeat("x", 3072) }
	const train = "train --model PETS --data pets --out run"
	for _, test := range []wrongInput{
		{"not there", nil, "train --model SMALL --data nosuch", []string{`"nosuch"`, "cifar10", "synthetic"}},
		{"a file", func(t *testing.T) { write(t, "d", nil) }, "train --model SMALL --data d", []string{`"d"`, "is a file", "folder"}},
		{"an empty folder", func(t *testing.T) { write(t, "d/.keep", nil) }, "train --model SMALL --data d", []string{`"d"`, `"train"`, "train/<class>/*.jpg"}},
		{"an empty folder, previewed", func(t *testing.T) { write(t, "d/.keep", nil) }, "data preview --data d", []string{`"d"`, "train/<class>/"}},
		{"no class folder", func(t *testing.T) { write(t, "d/train/.keep", nil) }, "train --model PETS --data d", []string{`"d/train"`, "no images", `"cat"`, `"dog"`}},
		{"no image", pets(func(t *testing.T) { removed("pets/train/cat")(t); emptyClass(t); write(t, "pets/train/cat/x.txt", nil) }), train, []string{`"pets/train"`, "no images"}},
		{"an empty class", pets(emptyClass), train, []string{`"pets/train"`, `class "dog"`}},
		{"an empty class, unpacked", pets(emptyClass), "data unpack --data pets --out u", []string{`"pets/train"`, `class "dog"`}},
		{"an empty class in test", pets(func(t *testing.T) { removed("pets/test/cat")(t); write(t, "pets/test/cat/x.txt", nil) }),
			"evaluate --model PETS --data pets", []string{`"pets/test"`, `class "cat"`}},
		{"classes of another model", pets(func(*testing.T) {}), "train --model SMALL --data pets", []string{`"pets/train"`, `"cat" "dog"`, `"airplane"`, `"truck"`}},
		{"a class too many", pets(file("pets/train/fox/1.png", func(t *testing.T) []byte { return pngImage(t, 9, 9) })), train, []string{`"pets/train"`, `"fox"`, `"cat" "dog"`}},
		{"a class too few", pets(removed("pets/train/dog")), train, []string{`"pets/train"`, `lacks`, `"dog"`, `"cat" "dog"`}},
		{"no test", pets(removed("pets/test")), "evaluate --model PETS --data pets", []string{`"pets"`, `no folder "test"`}},
		{"text named .jpg", pets(file("pets/train/cat/2.jpg", bytesOf("hello"))), train, []string{`"pets/train/cat/2.jpg"`, "not a JPEG or PNG", `"hello"`}},
		{"an empty .jpg", pets(file("pets/train/cat/2.jpg", bytesOf(""))), train, []string{`"pets/train/cat/2.jpg"`, "empty"}},
		{"a truncated .jpg", pets(file("pets/test/dog/2.jpg", half)), train, []string{`"pets/test/dog/2.jpg"`, "JPEG", "cut short"}},
		{"a bomb", pets(file("pets/train/cat/2.png", func(*testing.T) []byte { return pngBomb() })), train, []string{`"pets/train/cat/2.png"`, "100000x100000", "64 megapixels"}},
		{"another format", pets(file("pets/train/cat/2.webp", bytesOf("RIFF"))), train, []string{`"pets/train/cat/2.webp"`, "only JPEG and PNG"}},
		{"a folder named .jpg", pets(file("pets/train/cat/2.jpg/1.jpg", bytesOf(""))), train, []string{`"pets/train/cat/2.jpg"`, "is a folder"}},
		{"a link to nowhere", pets(func(t *testing.T) {
			if err := os.Symlink("nowhere", "pets/train/cat/2.png"); err != nil {
				t.Fatal(err)
			}
		}), train, []string{"pets/train/cat/2.png", "no such file"}},
		{"CIFAR-10 cut", file("c/data_batch_1.bin", bytesOf(record(0)+record(1)[:100])), "train --model SMALL --data c", []string{`"c/data_batch_1.bin"`, "record 1", "100 of 3073 bytes"}},
		{"CIFAR-10 empty", file("c/data_batch_1.bin", bytesOf("")), "train --model SMALL --data c", []string{`"c/data_batch_1.bin"`, "empty"}},
		{"a label out of range", file("c/data_batch_1.bin", bytesOf(record(0)+record(10))), "train --model SMALL --data c", []string{`"c/data_batch_1.bin"`, "record 1", "label 10", "0 to 9"}},
		{"CIFAR-10 without test", file("c/data_batch_1.bin", bytesOf(record(0))), "evaluate --model SMALL --data c", []string{`"c"`, "test_batch.bin"}},
		{"CIFAR-10 for another model", file("c/data_batch_1.bin", bytesOf(record(0))), "train --model PETS --data c", []string{`"airplane"`, `"cat" "dog"`}},
	} {
		t.Run(test.name, test.run)
	}
}

func TestWrongImages(t *testing.T) {
	for _, test := range []struct {
		name    string
		content func(t *testing.T) []byte // nil: no file
		wants   []string
	}{
		{"not there", nil, []string{"no such file"}},
		{"text", func(*testing.T) []byte { return []byte("hello, world") }, []string{"not a JPEG or PNG", `"hello, world"`}},
		{"empty", func(*testing.T) []byte { return nil }, []string{"is empty"}},
		{"truncated JPEG", func(t *testing.T) []byte { return jpegImage(t, 99, 99)[:500] }, []string{"JPEG", "cut short"}},
		{"only the start of a JPEG", func(t *testing.T) []byte { return jpegImage(t, 99, 99)[:2] }, []string{"JPEG", "cut short"}},
		{"truncated PNG", func(t *testing.T) []byte { return pngImage(t, 99, 99)[:500] }, []string{"PNG", "cut short"}},
		{"corrupt PNG", func(t *testing.T) []byte { file := pngImage(t, 99, 99); file[20] ^= 1; return file }, []string{"PNG", "corrupt"}},
		{"PNG bomb", func(*testing.T) []byte { return pngBomb() }, []string{"100000x100000", "64 megapixels"}},
		{"JPEG bomb", jpegBomb, []string{"60000x60000", "64 megapixels"}},
		{"BMP", func(*testing.T) []byte { return []byte("BM\x46\x00\x00\x00\x00\x00\x00\x00\x36\x00\x00\x00\x28\x00") }, []string{"not a JPEG or PNG"}},
	} {
		t.Run(test.name, wrongInput{
			setup: func(t *testing.T) {
				write(t, "good.png", pngImage(t, 9, 9))
				if test.content != nil {
					write(t, "bad.jpg", test.content(t))
				}
			},
			args:  "predict --model SMALL good.png bad.jpg --json",
			wants: append([]string{`"bad.jpg"`}, test.wants...),
		}.run)
	}
	t.Run("a folder", wrongInput{
		setup: func(t *testing.T) { write(t, "images/good.png", pngImage(t, 9, 9)) },
		args:  "predict --model SMALL images", wants: []string{`"images"`, "is a folder"},
	}.run)
}

func TestWrongPlaces(t *testing.T) {
	exists := func(path string) func(t *testing.T) { return func(t *testing.T) { write(t, path, []byte("mine")) } }
	linked := func(t *testing.T) {
		if err := os.Symlink("nowhere", "run"); err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []wrongInput{
		{"train: a folder exists", exists("run/x"), "train --model SMALL --data synthetic --out run", []string{"run exists", "new directory"}},
		{"train: a file exists", exists("run"), "train --model SMALL --data synthetic --out run", []string{"run exists", "new directory"}},
		{"train: a link exists", linked, "train --model SMALL --data synthetic --out run", []string{"run exists", "new directory"}},
		{"train: below a file", exists("a"), "train --model SMALL --data synthetic --out a/b/c", []string{"a/b/c", "a is a file"}},
		{"train: below a link to nowhere", linked, "train --model SMALL --data synthetic --out run/a", []string{"run/a", "cannot be made"}},
		{"unpack: a folder exists", exists("u/x"), "data unpack --data synthetic --out u", []string{"u exists", "new directory"}},
		{"unpack: below a file", exists("a"), "data unpack --data synthetic --out a/b", []string{"a/b", "a is a file"}},
		{"preview: a folder", exists("p/x"), "data preview --data synthetic --out p", []string{"p is a folder", "a file"}},
		{"preview: below a file", exists("a"), "data preview --data synthetic --out a/b.png", []string{"a/b.png", "a is a file"}},
		{"evaluate: a file", exists("a"), "evaluate --model SMALL --data synthetic --out a", []string{"a/confusion.png", "a is a file"}},
	} {
		t.Run(test.name, test.run)
	}
}

// A place for which not everything is as it should be before the work begins is
// refused before the work begins.
func TestPlacesWhereNothingCanBeWritten(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "mine")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if os.Getuid() == 0 {
		mount(t, dir, unix.MS_RDONLY, "size=64m") // root may write whatever the mode says
	} else if err := os.Chmod(dir, 0o555); err != nil {
		t.Fatal(err)
	}
	small := modeltest.Dir(t, modeltest.Small)
	for _, test := range [][]string{
		{"train", "--model", small, "--data", "synthetic", "--out", filepath.Join(dir, "a", "run")},
		{"evaluate", "--model", small, "--data", "synthetic", "--out", filepath.Join(dir, "pictures")},
		{"data", "unpack", "--data", "synthetic", "--out", filepath.Join(dir, "images")},
		{"data", "preview", "--data", "synthetic", "--out", filepath.Join(dir, "preview.png")},
	} {
		t.Run(strings.Join(test[:2], " "), func(t *testing.T) {
			refused(t, run(test...), 1, test[len(test)-1], "cannot be made")
		})
	}
}

func TestNoDiskSpace(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "disk")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	mount(t, dir, 0, "size=32k")
	small := modeltest.Dir(t, modeltest.Small)
	check := unchanged(t, dir)
	for _, test := range []struct {
		args  []string
		wants []string
	}{
		{[]string{"train", "--model", small, "--data", "synthetic", "--out", filepath.Join(dir, "a", "run")}, []string{"no disk space", dir, "32.00 KB free", "the run needs 1"}},
		{[]string{"data", "unpack", "--data", "synthetic", "--limit", "100", "--out", filepath.Join(dir, "a", "images")}, []string{dir, "no space left"}},
		{[]string{"data", "preview", "--data", "synthetic", "--out", filepath.Join(dir, "a", "preview.png")}, []string{"write picture", "no space left"}},
	} {
		t.Run(strings.Join(test.args[:2], " "), func(t *testing.T) {
			refused(t, run(test.args...), 1, test.wants...)
		})
	}
	check()
}

// mount mounts an empty file system, or skips the test where that is not
// allowed.
func mount(t *testing.T, dir string, flags uintptr, options string) {
	t.Helper()
	if err := unix.Mount("tmpfs", dir, "tmpfs", flags, options); err != nil {
		t.Skipf("this machine does not let the test mount a file system: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
}

func TestResultsThatCannotBeWritten(t *testing.T) {
	small := modeltest.Dir(t, modeltest.Small)
	image := write(t, filepath.Join(t.TempDir(), "x.png"), pngImage(t, 9, 9))
	for _, args := range [][]string{
		{"--help"},
		{"train", "--help"},
		{"--version"},
		{"inspect", small},
		{"summary", "--json", "--model", small},
		{"predict", "--model", small, image},
	} {
		t.Run(strings.Join(args[:1], " "), func(t *testing.T) {
			full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer full.Close()
			command := process(t, args)
			command.Stdout = full
			refused(t, finish(t, command), 1, "write result", "no space left")
		})
	}
}

// A closed standard output is nobody's mistake: there is just nobody to read.
func TestClosedOutputs(t *testing.T) {
	command := process(t, []string{"-c", `"$0" inspect "$1" >&- 2>&-`, os.Args[0], modeltest.Dir(t, modeltest.Small)})
	command.Path, command.Args[0] = "/bin/sh", "sh"
	if o := finish(t, command); o.code != 0 || o.stderr != "" {
		t.Errorf("exit code %d: %s", o.code, o.stderr)
	}
}
