package api

import (
	"time"

	"github.com/protoduction/micro/cloud"
)

// FadeRecord is how a cross-fade went.
type FadeRecord struct {
	Host     cloud.Host        `json:"host"`
	Path     string            `json:"path"`
	From     ReleaseName       `json:"old" doc:"The release that the route had"`
	To       ReleaseName       `json:"new" doc:"The release that it was to move to"`
	Started  time.Time         `json:"started"`
	By       string            `json:"by" doc:"Who began it"`
	Ended    time.Time         `json:"ended,omitzero" doc:"Missing: it is under way"`
	EndedBy  string            `json:"ended_by,omitempty" doc:"Who ended it; micro: its verdict"`
	Finished bool              `json:"finished" doc:"The route has moved to the new release; else, once it has ended, it went back"`
	Reason   string            `json:"reason,omitempty" doc:"Why it ended"`
	Budget   int               `json:"budget,omitempty" doc:"How many requests might fail or be slow because of the new release"`
	Steps    []cloud.FadeEntry `json:"entries" doc:"What happened, the first first"`
}

// FadeRecordOf is a record as the API shows it.
func FadeRecordOf(r cloud.FadeRecord) FadeRecord {
	return FadeRecord{
		Host: r.Host, Path: r.Path, From: NameOf(r.From), To: NameOf(r.To), Started: r.Started, By: r.By,
		Ended: r.Ended, EndedBy: r.EndedBy, Finished: r.Finished, Reason: r.Reason, Budget: r.Budget, Steps: r.Steps,
	}
}
