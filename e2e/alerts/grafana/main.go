// Whether dashboards are what Grafana's schemas say, by the types that Grafana generates from them: nothing that is required is
// missing, nothing is there that they do not know. They look at everything but the defaults of fieldConfig so closely.
//
// Owns nothing but the question; which files is said by the command line.
package main

import (
	"fmt"
	"os"

	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/prometheus"
	"github.com/grafana/grafana-foundation-sdk/go/stat"
	"github.com/grafana/grafana-foundation-sdk/go/timeseries"
)

func check(file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var read dashboard.Dashboard
	if err := read.UnmarshalJSONStrict(text); some(err) {
		return err
	}
	if err := read.Validate(); some(err) {
		return err
	}
	return nil
}

// An error of theirs is a list, which may be empty.
func some(err error) bool {
	list, is := err.(cog.BuildErrors)
	return err != nil && !(is && len(list) == 0)
}

func main() {
	// What panels and queries of these kinds may have.
	schemas := cog.NewRuntime()
	schemas.RegisterPanelcfgVariant(stat.VariantConfig())
	schemas.RegisterPanelcfgVariant(timeseries.VariantConfig())
	schemas.RegisterDataqueryVariant(prometheus.VariantConfig())
	failed := false
	for _, file := range os.Args[1:] {
		if err := check(file); err != nil {
			failed = true
			fmt.Printf("%s: %v\n", file, err)
		}
	}
	if failed {
		os.Exit(1)
	}
}
