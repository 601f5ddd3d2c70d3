package cli

import (
	"context"
	"fmt"
	"strings"

	urfave "github.com/urfave/cli/v2"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
)

// showFades is "crossfade show": how cross-fades went.
func (c *command) showFades() *urfave.Command {
	return c.new("show", "HOST[/PATH] or APP@rN", "show how the cross-fades of a host, or to a release, went", 1, 1, []urfave.Flag{groupFlag, jsonFlag},
		c.with(func(ctx context.Context, u *urfave.Context, client *api.Client) error {
			records, err := c.fadeRecords(ctx, u, client)
			if err != nil {
				return err
			}
			if u.Bool("json") {
				return c.printJSON(records)
			}
			for _, r := range records {
				if err := c.printRecord(r); err != nil {
					return err
				}
			}
			if len(records) == 0 {
				c.say("no cross-fade of %s is known", u.Args().First())
			}
			return nil
		}))
}

func (c *command) fadeRecords(ctx context.Context, u *urfave.Context, client *api.Client) ([]api.FadeRecord, error) {
	if !strings.Contains(u.Args().First(), "@") {
		host, path, err := hostPath(u.Args().First())
		if err != nil {
			return nil, err
		}
		return client.FadesTo(ctx, c.group(u), string(host), path)
	}
	ref, err := c.ref(u, u.Args().First())
	if err != nil {
		return nil, err
	}
	return client.FadesOf(ctx, ref)
}

// printRecord prints a cross-fade: its end, and a line for each of its steps with the figures of the step that ended there.
func (c *command) printRecord(r api.FadeRecord) error {
	c.print("%s%s from %s to %s, begun by %s at %s", r.Host, strings.TrimSuffix(r.Path, "/"), r.From, r.To, r.By, r.Started.UTC().Format("2006-01-02 15:04:05 MST"))
	var rows [][]string
	for _, e := range r.Steps {
		row := []string{e.At.UTC().Format("15:04:05"), e.What, percentage(e.Share), e.By, "", "", "", "", "", e.Why}
		if f := e.Figures; f != nil {
			row[4], row[5] = fmt.Sprintf("%d/%d", f.New.Requests, f.Old.Requests), fmt.Sprintf("%d/%d", f.New.Errors, f.Old.Errors)
			row[6], row[7], row[8] = ms(f.New.P95)+"/"+ms(f.Old.P95), fmt.Sprintf("%.3g", f.Odds), f.Verdict
		}
		rows = append(rows, row)
	}
	if err := c.table([]string{"TIME", "WHAT", "SHARE", "BY", "REQUESTS", "ERRORS", "P95", "ODDS", "VERDICT", "WHY"}, rows, "P95", "ODDS", "BY"); err != nil {
		return err
	}
	switch {
	case r.Ended.IsZero():
		c.print("it is under way: micro compare %s", r.Host)
	case r.Finished:
		c.print("%s took over at %s: %s", r.To, r.Ended.UTC().Format("15:04:05"), r.Reason)
	default:
		c.print("it went back at %s, by %s: %s", r.Ended.UTC().Format("15:04:05"), r.EndedBy, r.Reason)
	}
	return nil
}

// printStep shows the evidence for and against a release, what it waits for and has cost, and the present step.
func (c *command) printStep(s *api.FadeStep) error {
	c.print("  no worse %s worse   odds of harm %.3g to 1, at 200 to 1 the traffic goes back", scale(s.Proof, s.Odds), s.Odds)
	waits := "nothing more to wait for but time"
	if s.Missing > 0 {
		waits = fmt.Sprintf("about %.0f more requests to the new release", s.Missing)
	}
	c.print("  waits for: %s; harmed so far: about %.0f of %d requests", waits, s.Cost, s.Budget)
	if text := outlook(s); text != "" {
		c.print("  %s", text)
	}
	if s.Abort != "" {
		c.print("  micro crossfade abort %s", s.Abort)
	}
	if p := s.Present; p != nil {
		return c.printPresent(s, p)
	}
	return nil
}

// scaleWidth is how many characters each half of the scale of evidence has.
const scaleWidth = 16

// scale draws the evidence for a release to the left and that against it to the right of one bar.
func scale(proof, odds float64) string {
	left := min(max(int(proof*scaleWidth), 0), scaleWidth)
	right := 0
	for limit := 1.0; right < scaleWidth && odds > limit*1.3926; right++ { // 200 to 1 is the whole half
		limit *= 1.3926
	}
	return "[" + strings.Repeat(".", scaleWidth-left) + strings.Repeat("#", left) + "|" + strings.Repeat("#", right) + strings.Repeat(".", scaleWidth-right) + "]"
}

// printPresent prints what both releases did in the present step.
func (c *command) printPresent(s *api.FadeStep, p *api.PresentStep) error {
	row := func(name string, f cloud.FadeCounts, b api.Build) []string {
		commit := b.Commit
		if len(commit) > 12 {
			commit = commit[:12]
		}
		classes := fmt.Sprintf("%d/%d/%d/%d", f.Classes[2], f.Classes[3], f.Classes[4], f.Classes[5])
		return []string{
			name, fmt.Sprint(f.Requests), classes, ms(f.P50), ms(f.P95), ms(f.P99), fmt.Sprint(f.UnderWay), fmt.Sprint(f.Crashes), ms(f.CPU), sizeOf(f.Memory),
			shortDigest(b.Digest), commit,
		}
	}
	return c.table([]string{"THIS STEP", "REQUESTS", "2XX/3XX/4XX/5XX", "P50", "P95", "P99", "UNDER WAY", "CRASHES", "CPU/REQUEST", "MEMORY", "IMAGE", "COMMIT"},
		[][]string{row(s.From.String(), p.Old, p.OldBuild), row(s.To.String(), p.New, p.NewBuild)}, "COMMIT", "IMAGE", "P50", "P99", "MEMORY", "CPU/REQUEST")
}

// shortDigest shows the beginning of an image's digest.
func shortDigest(d string) string {
	_, hex, _ := strings.Cut(d, ":")
	return hex[:min(12, len(hex))]
}
