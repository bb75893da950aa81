package postgrestest

import (
	"database/sql"
	"testing"
)

func TestServer(t *testing.T) {
	t.Parallel()
	s := Start(t)
	one, two := s.Database(t), s.Database(t)
	for _, url := range []string{one, two} {
		db, err := sql.Open("pgx", url)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := db.ExecContext(t.Context(), "CREATE TABLE mine (id BIGINT)"); err != nil {
			t.Errorf("a database is not empty: %v", err)
		}
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}
}
