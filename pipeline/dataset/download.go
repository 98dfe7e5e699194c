package dataset

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// Download makes sure that CIFAR-10's binary files are in the cache, and
// returns their folder. A folder that is there already is used as it is; a
// download that broke off goes on where it stopped. An empty cacheDir stands
// for the folder "residual" in the user's cache; progress may be nil.
//
// Several processes may call it at once: one downloads, the others wait.
func Download(ctx context.Context, cacheDir string, progress func(Progress)) (dir string, err error) {
	if cacheDir == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			return "", fmt.Errorf("download CIFAR-10: find the user's cache: %w", err)
		}
		cacheDir = filepath.Join(user, "residual")
	}
	dir, err = officialCIFAR.fetch(ctx, cacheDir, progress)
	if err != nil {
		return "", fmt.Errorf("download CIFAR-10: %w", err)
	}
	return dir, nil
}

// archive is a .tar.gz with a folder of known files, and where to have it from.
type archive struct {
	url    string
	md5    string
	folder string
	files  []string
	client *http.Client
	stall  time.Duration // without a byte, before a connection is given up
	pause  time.Duration // between two tries
	tries  int           // in a row that brought nothing
}

var officialCIFAR = archive{
	url:    "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
	md5:    "c32a1d4ab5d03f1284b67883e8d87530",
	folder: cifarFolder,
	files:  slices.Concat(cifarTrain, cifarTest, []string{cifarMeta, "readme.html"}),
	client: &http.Client{Transport: &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: 15 * time.Second}).DialContext,
		TLSHandshakeTimeout:   15 * time.Second,
		ResponseHeaderTimeout: 30 * time.Second,
		ForceAttemptHTTP2:     true,
		IdleConnTimeout:       10 * time.Second,
	}},
	stall: 30 * time.Second,
	pause: time.Second,
	tries: 4,
}

func (a archive) name() string { return filepath.Base(a.url) }

// fetch returns the unpacked folder in cacheDir. The archive is removed once it
// is unpacked; until then it stands beside the folder as <name>.part while it
// is incomplete and as <name> when it is whole.
func (a archive) fetch(ctx context.Context, cacheDir string, progress func(Progress)) (string, error) {
	dir := filepath.Join(cacheDir, a.folder)
	if a.unpacked(dir) {
		return dir, nil
	}
	if err := os.MkdirAll(cacheDir, 0o777); err != nil {
		return "", err
	}
	unlock, err := lock(ctx, filepath.Join(cacheDir, a.name()+".lock"))
	if err != nil {
		return "", err
	}
	defer unlock()
	if a.unpacked(dir) { // by the process that had the lock
		return dir, nil
	}
	file := filepath.Join(cacheDir, a.name())
	if _, err := os.Stat(file); err != nil {
		if err := a.download(ctx, file+".part", progress); err != nil {
			removeEmpty(file + ".part")
			return "", err
		}
		if err := os.Rename(file+".part", file); err != nil {
			return "", err
		}
	}
	if err := a.verify(file); err != nil {
		return "", err
	}
	if err := a.unpack(ctx, file, dir, progress); err != nil {
		return "", err
	}
	return dir, os.Remove(file)
}

// unpacked says whether all files are there. The folder appears by a rename,
// so what is there is whole.
func (a archive) unpacked(dir string) bool {
	return !slices.ContainsFunc(a.files, func(name string) bool {
		_, err := os.Stat(filepath.Join(dir, name))
		return err != nil
	})
}

// verify removes a file whose checksum is wrong, so that the next try does not
// build on it.
func (a archive) verify(file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	hash := md5.New()
	if _, err := io.Copy(hash, f); err != nil {
		return err
	}
	sum := hex.EncodeToString(hash.Sum(nil))
	if sum == a.md5 {
		return nil
	}
	err = fmt.Errorf("the MD5 of %q is %s, expected %s", file, sum, a.md5)
	if removeErr := os.Remove(file); removeErr != nil {
		return errors.Join(err, removeErr)
	}
	return fmt.Errorf("%w: %w: it was removed, try again", ErrNetwork, err)
}

// download brings part up to the whole archive, in as many tries as it takes
// while each brings something.
func (a archive) download(ctx context.Context, part string, progress func(Progress)) error {
	for empty := 0; ; {
		got, err := a.try(ctx, part, progress)
		if err == nil {
			return nil
		}
		if got > 0 {
			empty = 0
		}
		empty++
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if _, final := errors.AsType[finalError](err); final {
			return err
		}
		if empty >= a.tries {
			return fmt.Errorf("%w: %w; without one, unpack the archive anywhere and name that folder instead of %q, "+
				"or use %q", ErrNetwork, err, CIFAR10, Synthetic)
		}
		select {
		case <-time.After(a.pause):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// removeEmpty leaves no trace of a download that brought nothing.
func removeEmpty(file string) {
	if info, err := os.Stat(file); err == nil && info.Size() == 0 {
		os.Remove(file)
	}
}

// ErrNetwork is in the chain of Download's error where the network failed, or brought
// something else, so that another call may bring it.
var ErrNetwork = errors.New("the network failed")

// finalError is one that another try would not mend.
type finalError struct{ error }
