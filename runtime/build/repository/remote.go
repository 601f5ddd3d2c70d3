package repository

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"

	"github.com/go-git/go-billy/v5/osfs"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/cache"
	"github.com/go-git/go-git/v5/plumbing/format/packfile"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/capability"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/sideband"
	"github.com/go-git/go-git/v5/plumbing/transport"
	githttp "github.com/go-git/go-git/v5/plumbing/transport/http"
	"github.com/go-git/go-git/v5/storage/filesystem"
)

// Remote is a repository on a server.
type Remote struct {
	URL   string // http:// or https://
	Token string // password, "" for none
	HTTP  *http.Client
}

// session opens a session with the server. The caller must close it.
func (r Remote) session() (transport.UploadPackSession, error) {
	ep, err := transport.NewEndpoint(r.URL)
	if err != nil {
		return nil, fmt.Errorf("address of a Git repository: %w", err)
	}
	if ep.Protocol != "http" && ep.Protocol != "https" {
		return nil, fmt.Errorf("a Git repository by %s is not supported: use https://", ep.Protocol)
	}
	var auth transport.AuthMethod
	if r.Token != "" {
		auth = &githttp.BasicAuth{Username: "x-access-token", Password: r.Token}
	}
	return githttp.NewClient(r.HTTP).NewUploadPackSession(ep, auth)
}

// Resolve returns the commit of a name: a branch, a tag, a full name such as refs/pull/1/head, or a commit of 40 digits; ""
// is the server's HEAD. If a checksum is given, the commit or the annotated tag must begin with it.
func (r Remote) Resolve(ctx context.Context, name, checksum string) (commit string, err error) {
	if plumbing.IsHash(name) {
		return name, matches(checksum, name)
	}
	s, err := r.session()
	if err != nil {
		return "", err
	}
	defer s.Close()
	refs, err := s.AdvertisedReferencesContext(ctx)
	if err != nil {
		return "", fmt.Errorf("list branches and tags: %w", err)
	}
	if name == "" {
		if refs.Head == nil {
			return "", errors.New("the repository has no HEAD: name a branch, #BRANCH")
		}
		return refs.Head.String(), matches(checksum, refs.Head.String())
	}
	for _, full := range []string{
		"refs/" + strings.TrimPrefix(name, "refs/"), "refs/heads/" + strings.TrimPrefix(name, "refs/heads/"),
		"refs/tags/" + strings.TrimPrefix(name, "refs/tags/"),
	} {
		found, ok := refs.References[full]
		if !ok {
			continue
		}
		if peeled, ok := refs.Peeled[full]; ok { // an annotated tag, which is an object itself
			err := matches(checksum, found.String())
			if err != nil {
				err = matches(checksum, peeled.String())
			}
			return peeled.String(), err
		}
		return found.String(), matches(checksum, found.String())
	}
	return "", fmt.Errorf("the repository has no branch or tag %q", name)
}

func matches(checksum, commit string) error {
	if !strings.HasPrefix(commit, checksum) {
		return fmt.Errorf("the checksum is %[2]s, want %[1]s", checksum, commit)
	}
	return nil
}

// Fetch downloads a commit to temp, calls f with it, and removes the download.
func (r Remote) Fetch(ctx context.Context, commit, temp string, f func(*object.Commit) error) error {
	s, err := r.session()
	if err != nil {
		return err
	}
	defer s.Close()
	refs, err := s.AdvertisedReferencesContext(ctx)
	if err != nil {
		return fmt.Errorf("list branches and tags: %w", err)
	}
	req := packp.NewUploadPackRequestFromCapabilities(refs.Capabilities)
	hash := plumbing.NewHash(commit)
	req.Wants = append(req.Wants, hash)
	if refs.Capabilities.Supports(capability.Shallow) {
		req.Depth = packp.DepthCommits(1)
		if err := req.Capabilities.Set(capability.Shallow); err != nil {
			return err
		}
	}
	answer, err := s.UploadPack(ctx, req)
	if err != nil {
		return fmt.Errorf("fetch commit %s: %w", commit, err)
	}
	defer answer.Close()
	dir, err := os.MkdirTemp(temp, "repository")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	store := filesystem.NewStorage(osfs.New(dir), cache.NewObjectLRUDefault())
	defer store.Close()
	if err := packfile.UpdateObjectStorage(store, pack(req.Capabilities, answer)); err != nil {
		return fmt.Errorf("fetch commit %s: %w", commit, err)
	}
	found, err := object.GetCommit(store, hash)
	if err != nil {
		return fmt.Errorf("commit %s: %w", commit, err)
	}
	return f(found)
}

// pack returns the packfile in a server's answer, which may contain messages, too.
func pack(c *capability.List, answer io.Reader) io.Reader {
	switch {
	case c.Supports(capability.Sideband64k):
		return sideband.NewDemuxer(sideband.Sideband64k, answer)
	case c.Supports(capability.Sideband):
		return sideband.NewDemuxer(sideband.Sideband, answer)
	}
	return answer
}
