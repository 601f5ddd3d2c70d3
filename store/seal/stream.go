package seal

import (
	"errors"
	"io"

	"filippo.io/age"

	"github.com/protoduction/micro/cloud"
)

// Encrypt returns a writer that encrypts a stream for the first key. Close must be called at its end.
func (k *Keys) Encrypt(w io.Writer) (io.WriteCloser, error) {
	out, err := age.Encrypt(w, k.now.Load().recipient())
	if err != nil {
		return nil, cloud.Errorf(cloud.Internal, "encrypt a stream: %w", err)
	}
	return out, nil
}

// Decrypt returns what Encrypt encrypted, with any of the keys. Its reader ends with an error other than io.EOF if the
// stream was changed or truncated.
func (k *Keys) Decrypt(r io.Reader) (io.Reader, error) {
	out, err := age.Decrypt(r, k.now.Load().all()...)
	if _, other := errors.AsType[*age.NoIdentityMatchError](err); other {
		return nil, cloud.Errorf(cloud.Invalid, "it was encrypted with a key that is not in %s", k.path).
			WithHint("add the key that it was encrypted with to %s, after the first one", k.path)
	}
	return out, err
}

// Public is the public key that Encrypt encrypts for.
func (k *Keys) Public() string { return k.now.Load().recipient().String() }
