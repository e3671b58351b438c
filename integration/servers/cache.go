package servers

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/gofrs/flock"
)

// Fetch brings everything that the servers of this package need into the cache. Without
// it each server fetches its own when it is started for the first time.
func Fetch(ctx context.Context) error {
	_, kafka := jars(ctx)
	_, local := kinesisLocal(ctx)
	_, lite := kinesalite(ctx)
	_, mini := ministack(ctx)
	_, dynamo := dynamoJars(ctx)
	_, kcl1 := kclJars(ctx, KCL1)
	_, kcl2 := kclJars(ctx, KCL2)
	_, kcl3 := kclJars(ctx, KCL3)
	_, python := pythonPackages(ctx)
	_, mirrorMaker := mirrorMakerJars(ctx)
	return errors.Join(kafka, local, lite, mini, dynamo, kcl1, kcl2, kcl3, python, mirrorMaker)
}

// cached returns a folder of the cache, which fill has filled if it was not there. One
// process at a time fills; one that was interrupted is begun anew.
func cached(name string, fill func(dir string) error, tools ...string) (string, error) {
	for _, tool := range tools {
		if _, err := exec.LookPath(tool); err != nil {
			return "", fmt.Errorf("%s is not installed; run integration/install.sh: %w", tool, err)
		}
	}
	cache := os.Getenv("BRIDGE_CACHE")
	if cache == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			return "", err
		}
		cache = filepath.Join(user, "bridge-integration")
	}
	dir := filepath.Join(cache, name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	lock := flock.New(dir + ".lock")
	if err := lock.Lock(); err != nil {
		return "", err
	}
	defer lock.Unlock()
	done := filepath.Join(dir, ".ok")
	if _, err := os.Stat(done); err == nil {
		return dir, nil
	}
	if err := fill(dir); err != nil {
		return "", fmt.Errorf("fetch %s: %w", name, err)
	}
	return dir, os.WriteFile(done, nil, 0o644)
}

// output runs a command and returns its output with the error.
func output(c *exec.Cmd) error {
	if out, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", filepath.Base(c.Path), err, tail(out))
	}
	return nil
}
