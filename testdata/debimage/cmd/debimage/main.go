// Debimage makes a container image of Debian packages:
//
//	go run ./testdata/debimage/cmd/debimage [-refresh] [-o FILE.tar] PRESET
//	go run ./testdata/debimage/cmd/debimage [-refresh] [-o FILE.tar] -name NAME PACKAGE…
//
// It prints the archive's path. Without -o that is a file in the cache.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"

	"github.com/protoduction/micro/testdata/debimage"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "debimage:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	output := flag.String("o", "", "write the archive to `FILE`")
	name := flag.String("name", "", "the image's `NAME`; the arguments are packages then")
	refresh := flag.Bool("refresh", false, "look for newer packages")
	flag.Usage = func() {
		fmt.Fprintf(flag.CommandLine.Output(),
			"usage: debimage [-refresh] [-o FILE] PRESET | -name NAME PACKAGE…\npresets: %s\n",
			strings.Join(debimage.Presets(), " "))
		flag.PrintDefaults()
	}
	flag.Parse()
	recipe := debimage.Recipe{Name: *name, Packages: flag.Args(), Cmd: []string{"sh"}}
	if *name == "" {
		var known bool
		if recipe, known = debimage.Preset(flag.Arg(0)); !known || flag.NArg() != 1 {
			flag.Usage()
			os.Exit(2)
		}
	}
	image, err := debimage.Build(ctx, recipe, *refresh)
	if err != nil {
		return err
	}
	if *output == "" {
		fmt.Println(image)
		return nil
	}
	if err := copyFile(*output, image); err != nil {
		return err
	}
	fmt.Println(*output)
	return nil
}

func copyFile(to, from string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	if closeErr := out.Close(); err == nil {
		err = closeErr
	}
	return err
}
