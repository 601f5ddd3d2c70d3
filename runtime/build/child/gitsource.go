package child

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path"

	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/moby/buildkit/cache"
	"github.com/moby/buildkit/client"
	"github.com/moby/buildkit/session"
	"github.com/moby/buildkit/session/secrets"
	"github.com/moby/buildkit/snapshot"
	"github.com/moby/buildkit/solver"
	"github.com/moby/buildkit/solver/pb"
	"github.com/moby/buildkit/source"
	"github.com/moby/buildkit/source/git"
	"github.com/moby/buildkit/util/urlutil"

	"github.com/protoduction/micro/runtime/build/repository"
)

// gitSource is a BuildKit source of Git repositories for ADD. Unlike BuildKit's own, it does not run the program git.
type gitSource struct{ cache cache.Accessor }

var _ source.Source = gitSource{}

// Schemes implements source.Source.
func (gitSource) Schemes() []string { return (*git.Source)(nil).Schemes() }

// Identifier implements source.Source.
func (gitSource) Identifier(scheme, ref string, attrs map[string]string, platform *pb.Platform) (source.Identifier, error) {
	return (*git.Source)(nil).Identifier(scheme, ref, attrs, platform)
}

// Resolve implements source.Source.
func (g gitSource) Resolve(_ context.Context, id source.Identifier, sessions *session.Manager, _ solver.Vertex) (source.SourceInstance, error) {
	src, ok := id.(*git.GitIdentifier)
	if !ok {
		return nil, fmt.Errorf("not a Git repository: %s", id)
	}
	switch {
	case src.KeepGitDir:
		return nil, errors.New("ADD --keep-git-dir is not supported: the files of the commit come without the history")
	case src.Bundle != "" || src.CheckoutBundle:
		return nil, errors.New("a Git bundle as a source is not supported")
	case src.VerifySignature != nil:
		return nil, errors.New("a Git commit's signature is not checked: give its --checksum")
	}
	return &gitCommit{gitSource: g, src: src, sessions: sessions}, nil
}

// gitCommit is a build step that provides the files of a commit.
type gitCommit struct {
	gitSource
	src      *git.GitIdentifier
	sessions *session.Manager
	remote   repository.Remote
	commit   string // "" until it is resolved
}

var _ source.SourceInstance = (*gitCommit)(nil)

// resolve looks up the commit.
func (g *gitCommit) resolve(ctx context.Context, job solver.JobContext) error {
	if g.commit != "" {
		return nil
	}
	token, err := g.token(ctx, job)
	if err != nil {
		return fmt.Errorf("the token for %s: %w", g.name(), err)
	}
	g.remote = repository.Remote{URL: g.src.Remote, Token: token, HTTP: http.DefaultClient}
	name, checksum := g.src.Ref, g.src.Checksum
	if g.src.FetchByCommit {
		name = checksum
	}
	if g.commit, err = g.remote.Resolve(ctx, name, checksum); err != nil {
		return fmt.Errorf("repository %s: %w", g.name(), err)
	}
	return nil
}

// name returns the repository's URL without its password.
func (g *gitCommit) name() string { return urlutil.RedactCredentials(g.src.Remote) }

// token returns the build's secret for the repository's server, or the one for all servers, or "".
func (g *gitCommit) token(ctx context.Context, job solver.JobContext) (token string, err error) {
	u, err := url.Parse(g.src.Remote)
	if g.src.AuthTokenSecret == "" || err != nil || job == nil {
		return "", nil // a URL without a scheme is rejected later
	}
	err = g.sessions.Any(ctx, job.Session(), func(ctx context.Context, _ string, caller session.Caller) error {
		for _, id := range []string{g.src.AuthTokenSecret + "." + u.Host, g.src.AuthTokenSecret} {
			value, err := secrets.GetSecret(ctx, caller, id)
			if errors.Is(err, secrets.ErrNotFound) {
				continue
			}
			token = string(value)
			return err
		}
		return nil
	})
	return token, err
}

// CacheKey implements source.SourceInstance.
func (g *gitCommit) CacheKey(ctx context.Context, job solver.JobContext, _ int) (key, pin string, opts solver.CacheOpts, done bool, err error) {
	if err := g.resolve(ctx, job); err != nil {
		return "", "", nil, false, err
	}
	key = "git commit " + g.commit + ":" + path.Clean("/"+g.src.Subdir)
	if g.src.SkipSubmodules {
		key += " without submodules"
	}
	return key, g.commit, nil, true, nil
}

// Snapshot implements source.SourceInstance.
func (g *gitCommit) Snapshot(ctx context.Context, job solver.JobContext) (_ cache.ImmutableRef, err error) {
	if err := g.resolve(ctx, job); err != nil {
		return nil, err
	}
	var group session.Group
	if job != nil {
		group = job.Session()
	}
	ref, err := g.cache.New(ctx, nil, group, cache.WithRecordType(client.UsageRecordTypeGitCheckout),
		cache.WithDescription(fmt.Sprintf("commit %s of %s", g.commit, g.name())))
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, ref.Release(context.WithoutCancel(ctx)))
		}
	}()
	mountable, err := ref.Mount(ctx, false, group)
	if err != nil {
		return nil, err
	}
	mounter := snapshot.LocalMounter(mountable)
	dir, err := mounter.Mount()
	if err != nil {
		return nil, err
	}
	err = g.remote.Fetch(ctx, g.commit, os.TempDir(), func(c *object.Commit) error {
		return repository.Write(c, g.src.Subdir, dir, g.src.SkipSubmodules)
	})
	if err != nil {
		err = fmt.Errorf("repository %s: %w", g.name(), err)
	}
	if err = errors.Join(err, mounter.Unmount()); err != nil {
		return nil, err
	}
	return ref.Commit(ctx)
}
