package cloud

import (
	"net/netip"
	"slices"
	"strings"
	"time"
)

// CertificateRecord is what is known of the certificate of a public host that is ordered by ACME.
type CertificateRecord struct {
	Host Host `json:"host"`
	// Issuer, From and Expires are those of the certificate in hand; zero for none.
	Issuer  string    `json:"issuer,omitempty"`
	From    time.Time `json:"from,omitzero"`
	Expires time.Time `json:"expires,omitzero"`
	// Tried is when the last order was begun, and Failures is how many have failed since one succeeded.
	Tried    time.Time `json:"tried,omitzero"`
	Failures int       `json:"failures,omitempty"`
	// Next is when the next order may be begun at the earliest.
	Next time.Time `json:"next,omitzero"`
	// Failed says why the last order failed; nil where it did not.
	Failed *OrderFailure `json:"failed,omitempty"`
	// Issued is when orders have succeeded, of the last week.
	Issued []time.Time `json:"issued,omitempty"`
}

// Due returns when the host's next order is due: at once where there is no certificate, else when a third of its life
// is left, and never before Next.
func (r CertificateRecord) Due() time.Time {
	if renew := r.From.Add(r.Expires.Sub(r.From) * 2 / 3); !r.Expires.IsZero() && renew.After(r.Next) {
		return renew
	}
	return r.Next
}

// OrderFailure is why an order failed, in words. It is an error.
type OrderFailure struct {
	Step   OrderStep `json:"step"`
	Reason string    `json:"reason"`
	Hint   string    `json:"hint,omitempty"`
	// Wait is how long the authority wants to be left alone; 0 where it did not say.
	Wait time.Duration `json:"wait,omitempty"`
	// Unasked says that the authority was not asked at all, as it could not have succeeded.
	Unasked bool `json:"unasked,omitempty"`
}

func (f *OrderFailure) Error() string { return string(f.Step) + ": " + f.Reason }

// OrderStep is a step of an order.
type OrderStep string

// Order steps, in the order in which they are taken.
const (
	StepDirectory OrderStep = "directory" // the authority is reached
	StepAccount   OrderStep = "account"   // it knows who orders
	StepCAA       OrderStep = "caa"       // the domain's CAA records let it issue
	StepOrder     OrderStep = "order"     // it takes the order
	StepChallenge OrderStep = "challenge" // it sees that the name is ours
	StepIssue     OrderStep = "issue"     // it issues
	StepStore     OrderStep = "store"     // the certificate is kept
)

// IssuedCertificate is a certificate that was just ordered.
type IssuedCertificate struct {
	Issuer        string
	From, Expires time.Time
}

// Orderable reports why no authority is asked for a certificate of the host; nil where one may be. A private name
// never reaches an authority.
func (s *State) Orderable(h Host) error {
	bare := Host(strings.TrimPrefix(string(h), "*."))
	d := s.Settings().Domain
	switch _, err := netip.ParseAddr(string(bare)); {
	case err == nil:
		return Errorf(Invalid, "%s is an IP address", h)
	case d.Contains(bare):
		return Errorf(Invalid, "%s is a name of the private domain, which never reaches an authority outside", h)
	case bare == "localhost" || strings.HasSuffix(string(bare), ".localhost") || strings.HasSuffix(string(bare), ".internal"):
		return Errorf(Invalid, "%s is a private name, which never reaches an authority outside", h)
	case !strings.Contains(string(bare), "."):
		return Errorf(Invalid, "%s has a single label", h)
	}
	return nil
}

// WantsCertificate says whether a host is to have a certificate of its own: it is public and leads somewhere.
func (s *VirtualHost) WantsCertificate() bool {
	return s.Exposure == ExposedPublic && !s.PassesBytes() && slices.ContainsFunc(s.Routes, func(r Route) bool { return len(r.Targets) > 0 })
}
