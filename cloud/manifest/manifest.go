package manifest

import (
	"cmp"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"

	"go.yaml.in/yaml/v3"

	"github.com/protoduction/micro/cloud"
)

// Manifest is what a folder asks for.
type Manifest struct {
	File  string         `json:"file,omitempty"` // the manifest's name in the folder, "" for none
	App   cloud.AppName  `json:"app"`
	Spec  cloud.PushSpec `json:"spec"`
	Image string         `json:"image,omitempty"` // to run instead of a build
	Path  string         `json:"path"`            // folder or archive to push, seen from the manifest's folder
	Build Build          `json:"build,omitzero"`
	// Services are to be created where they are missing.
	Services []NewService `json:"services,omitempty"`
	// Secrets are variables of the environment that start with a value which nobody knows, where they have none.
	Secrets []string `json:"secrets,omitempty"`
	// Warnings are about what is accepted but should be written otherwise, a line each.
	Warnings []string `json:"warnings,omitempty"`
}

// Build is how the image is made of the sources.
type Build struct {
	Dockerfile string            `json:"dockerfile,omitempty"` // path in the sources; "" is Dockerfile
	Target     string            `json:"target,omitempty"`
	Args       map[string]string `json:"args,omitempty"`
}

// Options are what the command line adds.
type Options struct {
	// App is the app wanted. It picks one of several; a manifest's only app is renamed to it.
	App cloud.AppName
	// Image is run whatever the manifest says. Procfile and app.json belong to sources and are not read.
	Image string
	// Domain completes old host keys that come without a domain; "" makes such a host an error.
	Domain cloud.Domain
	// Vars and the YAML files VarsFiles hold the values of ((var)); Vars beat files, later files earlier ones.
	// A file may be a pipe, such as a shell's <(COMMAND).
	Vars      map[string]string
	VarsFiles []string
}

// Files are the bytes that Parse reads; a nil one is absent.
type Files struct {
	Folder   string // the name of the folder, which an unnamed app takes
	Name     string // of Manifest: "micro.yml"
	Manifest []byte
	Sources  string // the folder of Procfile and AppJSON seen from Folder, for errors; "" is Folder
	Procfile []byte
	AppJSON  []byte
	Vars     []File // the files named by Options.VarsFiles
}

// File is a named file's bytes.
type File struct {
	Name string
	Data []byte
}

const (
	stackato = "stackato.yml"
	// maxFile bounds each file. The largest manifests in the field have some ten thousand bytes.
	maxFile = 1 << 20
)

// Load reads the files of a folder: micro.yml, else manifest.yml, else stackato.yml, and, where the
// sources are (path), Procfile and app.json. None of them is needed. Errors have code Invalid and list all that is wrong (see Problems);
// NotFound where the folder is none.
func Load(dir string, o Options) (*Manifest, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, cloud.Errorf(cloud.Invalid, "folder %q: %w", dir, err)
	}
	if info, err := os.Stat(abs); err != nil {
		return nil, cloud.Errorf(cloud.NotFound, "folder %q: %w", dir, err).WithHint("micro push FOLDER, or micro push --app NAME --image IMAGE")
	} else if !info.IsDir() {
		return nil, cloud.Errorf(cloud.Invalid, "%q is not a folder", dir)
	}
	f := Files{Folder: filepath.Base(abs)}
	fsys := os.DirFS(abs)
	for _, name := range []string{"micro.yml", "manifest.yml", stackato} {
		if f.Manifest, err = read(fsys, name, 0); err != nil {
			return nil, err
		}
		if f.Manifest != nil {
			f.Name = name
			break
		}
	}
	for _, name := range o.VarsFiles {
		data, err := read(os.DirFS(filepath.Dir(name)), filepath.Base(name), fs.ModeNamedPipe)
		if err != nil {
			return nil, cloud.Errorf(cloud.Invalid, "variables file %s: %w", name, err)
		}
		if data == nil {
			return nil, cloud.Errorf(cloud.NotFound, "variables file %q does not exist", name)
		}
		f.Vars = append(f.Vars, File{name, data})
	}
	// Procfile and app.json lie where the sources are, which the manifest alone knows.
	sources := abs
	if m, err := Parse(f, o); err == nil && m.Path != "." {
		sources = m.Path
		if !filepath.IsAbs(sources) {
			sources = filepath.Join(abs, sources)
		}
		if _, err := os.Stat(sources); err != nil {
			return nil, cloud.Errorf(cloud.Invalid, "%s: path %q: nothing is at %s", f.Name, m.Path, sources)
		}
		f.Sources = m.Path
	}
	fsys = os.DirFS(sources)
	if f.Procfile, err = read(fsys, "Procfile", 0); err != nil {
		return nil, err
	}
	if f.AppJSON, err = read(fsys, "app.json", 0); err != nil {
		return nil, err
	}
	return Parse(f, o)
}

// read returns nil for a file that is not there, or that is in what is not a folder but an archive. It may be
// a regular file, or of the type in also.
func read(fsys fs.FS, name string, also fs.FileMode) ([]byte, error) {
	// Looked at before it is opened: a FIFO that nobody asked us to read would keep us waiting for ever.
	info, err := fs.Stat(fsys, name)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return nil, nil
	}
	if err == nil && info.Mode().Type()&^also != 0 {
		return nil, cloud.Errorf(cloud.Invalid, "%s is not a regular file", name)
	}
	var f fs.File
	if err == nil {
		f, err = fsys.Open(name)
	}
	if err != nil {
		return nil, cloud.Errorf(cloud.Invalid, "read %s: %w", name, err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1)) // Parse says that it is too long
	if err != nil {
		return nil, cloud.Errorf(cloud.Invalid, "read %s: %w", name, err)
	}
	return append([]byte{}, data...), nil
}

// Parse makes a Manifest of the files' bytes.
func Parse(f Files, o Options) (*Manifest, error) {
	l := &log{}
	vars := readVars(l, f.Vars, o.Vars)
	a := newApp(nil)
	if f.Manifest != nil {
		a = readManifest(l.reader(f.Name, f.Manifest), f.Manifest, vars, o)
	}
	m := &Manifest{
		File:  f.Name,
		App:   cmp.Or(o.App, a.name),
		Spec:  a.draft(),
		Image: cmp.Or(o.Image, a.docker.image),
		Path:  cmp.Or(a.path, "."),
		Build: a.own.image.Build, Services: a.newServices(),
	}
	if m.Image == "" {
		var procfile map[cloud.ProcessName]int
		if f.Procfile != nil {
			procfile = readProcfile(l.reader(path.Join(f.Sources, "Procfile"), f.Procfile), f.Procfile, &m.Spec)
		}
		if f.AppJSON != nil {
			m.Secrets = readAppJSON(l.reader(path.Join(f.Sources, "app.json"), f.AppJSON), f.AppJSON, &m.Spec)
		}
		withoutWeb(a, procfile, &m.Spec)
	}
	m.Warnings = l.warnings.strings()
	if len(l.problems) > 0 {
		return nil, cloud.Errorf(cloud.Invalid, "%w", l.problems.sorted())
	}
	if err := o.App.Validate(); o.App != "" && err != nil {
		return nil, err
	}
	if m.App == "" {
		m.App = cloud.AppName(strings.ToLower(f.Folder))
		if err := m.App.Validate(); err != nil {
			return nil, cloud.Errorf(cloud.Invalid, "the app has no name, and the folder's name cannot be one: %w", err).WithCommand("micro push --app NAME")
		}
	}
	return m, nil
}

// readManifest reads all apps of the file, so that its errors come all at once, and returns the wanted one.
func readManifest(r *reader, data []byte, vars variables, o Options) *app {
	if r.file == stackato {
		r.warn(nil, "stackato.yml is an old name: write micro.yml")
	}
	root := r.parseYAML(data, vars)
	if root == nil {
		return newApp(nil)
	}
	d := &document{domain: o.Domain}
	if root.Kind == yaml.MappingNode && child(root, "applications") == nil {
		return d.only(r, root)
	}
	d.outside(r, root)
	fill(value{r, root, "the file"}, d)
	return d.pick(r, o.App)
}
