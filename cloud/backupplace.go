package cloud

import (
	"iter"
	"net/url"
	"path"
	"regexp"
	"strings"
	"time"
)

// BackupPlace is where backups may be kept beside the nodes' own folders. Admins say which places there are; whoever may
// back a service up may use them.
type BackupPlace struct {
	Name string `json:"name"`
	// Folder is the absolute path of a folder on each node, "" for a bucket.
	Folder string `json:"folder,omitempty"`
	// Bucket of an S3 server, and what begins the names of its files there.
	Bucket string `json:"bucket,omitempty"`
	Prefix string `json:"prefix,omitempty"`
	// Endpoint is the server's URL.
	Endpoint string    `json:"endpoint,omitempty"`
	Region   string    `json:"region,omitempty"`
	KeyID    string    `json:"key_id,omitempty"`
	Secret   string    `json:"secret,omitempty"`
	Created  time.Time `json:"created"`
	By       string    `json:"by"`
}

// DefaultEndpoint is the S3 server of a place that names none.
const DefaultEndpoint = "https://s3.amazonaws.com"

// Key is "places/NAME".
func (p *BackupPlace) Key() Key { return Key("places/" + p.Name) }

func (p *BackupPlace) touch(*touched)    {}
func (p *BackupPlace) indexes() []string { return nil }

// Location is the place's folder, or s3://BUCKET/PREFIX.
func (p *BackupPlace) Location() string {
	if p.Folder != "" {
		return p.Folder
	}
	return "s3://" + path.Join(p.Bucket, p.Prefix)
}

// BackupPlaces yields all places by name.
func (s *State) BackupPlaces() iter.Seq[*BackupPlace] { return all[*BackupPlace](s, "places/") }

// MustBackupPlace returns the place of a name, or of a location.
func (s *State) MustBackupPlace(name string) (*BackupPlace, error) {
	if p, ok := get[*BackupPlace](s, Key("places/"+name)); ok {
		return p, nil
	}
	location := strings.TrimRight(name, "/")
	for p := range s.BackupPlaces() {
		if p.Location() == location {
			return p, nil
		}
	}
	return nil, Errorf(NotFound, "no place %q for backups", name).WithHint("an admin adds one: micro service add-place NAME s3://BUCKET/PREFIX --endpoint URL --key-id ID")
}

// CheckPlace returns how a backup names a place that somebody chose: by the place's name, or by the path of a folder.
func (s *State) CheckPlace(to string) (string, error) {
	if to == "" {
		return "", nil
	}
	if p, err := s.MustBackupPlace(to); err == nil {
		return p.Name, nil
	} else if !strings.HasPrefix(to, "/") {
		return "", err
	}
	return path.Clean(to), nil
}

var bucketName = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$`)

// ParseLocation reads the folder, or the bucket and prefix, of a place.
func (p *BackupPlace) ParseLocation(text string) error {
	if strings.HasPrefix(text, "/") {
		p.Folder = path.Clean(text)
		return nil
	}
	rest, ok := strings.CutPrefix(text, "s3://")
	bucket, prefix, _ := strings.Cut(rest, "/")
	if !ok || !bucketName.MatchString(bucket) {
		return Errorf(Invalid, "%q is neither the absolute path of a folder nor s3://BUCKET/PREFIX", text)
	}
	p.Bucket, p.Prefix = bucket, strings.Trim(path.Clean("/"+prefix), "/")
	return nil
}

// AddBackupPlace returns the changes that add a place.
func (s *State) AddBackupPlace(p BackupPlace, at Stamp) ([]Change, error) {
	if err := checkLabel("place", p.Name); err != nil {
		return nil, err
	}
	if known, err := s.MustBackupPlace(p.Name); err == nil {
		return nil, Errorf(Conflict, "place %s exists already", known.Name).WithCommand("micro service places")
	}
	if known, err := s.MustBackupPlace(p.Location()); err == nil {
		return nil, Errorf(Conflict, "%s is place %s already", p.Location(), known.Name).WithCommand("micro service places")
	}
	if p.Bucket != "" {
		u, err := url.Parse(p.Endpoint)
		if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || strings.Trim(u.Path, "/") != "" || u.User != nil {
			return nil, Errorf(Invalid, "endpoint %q is not the URL of a server", p.Endpoint).WithHint("for example https://s3.example.com")
		}
		if p.KeyID == "" || p.Secret == "" {
			return nil, Errorf(Invalid, "an S3 server needs the ID of a key, and its secret").WithHint("micro service add-place %s %s --key-id ID asks for the secret", p.Name, p.Location())
		}
	}
	p.Created, p.By = at.At, at.By
	return []Change{Put(&p)}, nil
}

// RemoveBackupPlace returns the changes that forget a place, which no backup and no schedule names.
func (s *State) RemoveBackupPlace(name string) ([]Change, error) {
	p, err := s.MustBackupPlace(name)
	if err != nil {
		return nil, err
	}
	for b := range s.AllBackups("") {
		if b.Place == p.Name {
			return nil, Errorf(Conflict, "place %s has backup %s of %s", p.Name, b.ID, b.AppRef).WithCommand("micro service delete-backup %s %s", b.AppRef, b.ID)
		}
	}
	for b := range s.BackupSchedules() {
		if b.To == p.Name {
			return nil, Errorf(Conflict, "%s is backed up to place %s by a schedule", b.AppRef, p.Name).WithCommand("micro service schedule %s --off", b.AppRef)
		}
	}
	return []Change{Delete(p)}, nil
}
