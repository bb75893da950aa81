package file

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"filippo.io/age"
	"filippo.io/age/armor"

	"rotator/stores"
)

// ageIntro begins every binary age file (C2SP age-encryption.org/v1).
const ageIntro = "age-encryption.org/"

// parseRecipient reads one public key. Its error never shows the text: people mistake identities for recipients.
func parseRecipient(text string) (age.Recipient, error) {
	r, err := age.ParseRecipients(strings.NewReader(text))
	if err != nil || len(r) != 1 {
		return nil, errors.New("not one age public key (age1...)")
	}
	return r[0], nil
}

// seal encrypts text to the recipients, if there are any.
func (s *Store) seal(text []byte) ([]byte, error) {
	if len(s.recipients) == 0 {
		return text, nil
	}
	var out bytes.Buffer
	w, err := age.Encrypt(&out, s.recipients...)
	if err != nil {
		return nil, fmt.Errorf("encrypt: %w", err)
	}
	_, err = w.Write(text)
	if err := errors.Join(err, w.Close()); err != nil {
		return nil, fmt.Errorf("encrypt: %w", err)
	}
	return out.Bytes(), nil
}

// unseal decrypts an age file, binary or armored, and returns any other text as it is. ErrInvalid without the identity
// that it takes.
func (s *Store) unseal(ctx context.Context, raw []byte) ([]byte, error) {
	var in io.Reader = bytes.NewReader(raw)
	switch {
	case bytes.HasPrefix(raw, []byte(armor.Header)):
		in = armor.NewReader(in)
	case !bytes.HasPrefix(raw, []byte(ageIntro)):
		return raw, nil
	}
	if s.identity == nil {
		return nil, fmt.Errorf("%w: the file is encrypted and the store has no identity", stores.ErrInvalid)
	}
	text, err := s.identity(ctx)
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case err != nil: // not wrapped: an identity that is not found must not read as a target that is not found
		return nil, fmt.Errorf("%w: read the age identity: %v", stores.ErrInvalid, err) //nolint:errorlint // see above
	}
	identities, err := age.ParseIdentities(strings.NewReader(text.Reveal()))
	if err != nil {
		return nil, fmt.Errorf("%w: what should be an age identity is none", stores.ErrInvalid) // age's error may quote it
	}
	out, err := age.Decrypt(in, identities...)
	if err != nil {
		return nil, fmt.Errorf("%w: the file cannot be decrypted with the store's identity", stores.ErrInvalid)
	}
	plain, err := io.ReadAll(out)
	if err != nil {
		return nil, fmt.Errorf("%w: the encrypted file is damaged", stores.ErrInvalid)
	}
	return plain, nil
}
