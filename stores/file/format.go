package file

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"rotator/internal/dotenv"
	"rotator/internal/jsonfield"
	"rotator/internal/secret"
	"rotator/stores"
)

// formatDotenv is the option of a target whose file has lines of NAME=value.
const formatDotenv = "dotenv"

// valueOf returns the key that a document holds. How a document with fields is written is seen, since a target that a
// policy left is read by its name alone: a JSON object begins with a brace, which no .env file does.
func (p place) valueOf(doc []byte) (secret.Text, error) {
	var value string
	var err error
	switch {
	case p.field == "":
		value = trimNewline(string(doc))
	case p.dotenv || dotenv.Name(p.field) && !isJSON(doc):
		if value, err = dotenv.Get(doc, p.field); err != nil && !errors.Is(err, dotenv.ErrNotFound) && !p.dotenv {
			return secret.Text{}, fmt.Errorf("%w: neither a JSON object nor a .env file: %w", stores.ErrInvalid, err)
		}
	default:
		value, err = jsonfield.Get(doc, p.field)
	}
	if err != nil && !errors.Is(err, jsonfield.ErrNotFound) && !errors.Is(err, dotenv.ErrNotFound) {
		return secret.Text{}, fmt.Errorf("%w: %w", stores.ErrInvalid, err)
	}
	if value == "" {
		return secret.Text{}, stores.ErrNotFound
	}
	return secret.New(value), nil
}

// isJSON reports whether the document is to be read as JSON. An empty one is.
func isJSON(doc []byte) bool {
	text := bytes.TrimLeft(doc, " \t\r\n")
	return len(text) == 0 || text[0] == '{' || text[0] == '['
}

// replaceValue returns the document that holds value in place of the one before.
func (p place) replaceValue(doc []byte, value secret.Text) ([]byte, error) {
	var next []byte
	var err error
	switch {
	case p.field == "":
		return []byte(value.Reveal()), nil
	case p.dotenv:
		next, err = dotenv.Set(doc, p.field, value.Reveal())
	default:
		next, err = jsonfield.Set(doc, p.field, value.Reveal())
		if errors.Is(err, jsonfield.ErrNotObject) && !isJSON(doc) {
			err = fmt.Errorf("%w; a file of NAME=value lines needs format: dotenv", err)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", stores.ErrInvalid, err)
	}
	return next, nil
}

// writable checks, for Check, that a key could be written into the document: ErrInvalid.
func (p place) writable(doc []byte) error {
	if p.field != "" && !p.dotenv {
		if hint := jsonfield.Hint(doc, p.field); hint != "" {
			return fmt.Errorf("%w: no field %q: %s", stores.ErrInvalid, p.field, hint)
		}
	}
	_, err := p.replaceValue(doc, secret.New("xai-probe"))
	return err
}

// storable checks that value, written to the target, would be read back as it is: ErrInvalid.
func (p place) storable(value secret.Text) error {
	text := value.Reveal()
	switch {
	case text == "":
		return fmt.Errorf("%w: an empty value", stores.ErrInvalid)
	case p.field == "" && trimNewline(text) != text:
		return fmt.Errorf("%w: a value that ends in a newline", stores.ErrInvalid)
	case p.field != "" && !utf8.ValidString(text):
		return fmt.Errorf("%w: a value that is not UTF-8", stores.ErrInvalid)
	case len(text) > maxSize/2:
		return fmt.Errorf("%w: a value that is too long", stores.ErrInvalid)
	}
	if p.dotenv {
		if _, err := dotenv.Set(nil, p.field, text); err != nil {
			return fmt.Errorf("%w: %w", stores.ErrInvalid, err)
		}
	}
	return nil
}

// trimNewline drops one line end.
func trimNewline(text string) string {
	return strings.TrimSuffix(strings.TrimSuffix(text, "\n"), "\r")
}
