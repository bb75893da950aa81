package layout

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestSizes: no type of the engine has more than 25 methods, and no file more than 400 lines: what is larger is hard to read
// in one sitting, and is cut where it has two purposes.
func TestSizes(t *testing.T) {
	t.Parallel()
	const mostMethods, mostLines = 25, 400
	methods := make(map[string]int) // folder and type → its methods
	files := 0
	err := filepath.WalkDir("../../rotation", func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() || filepath.Ext(path) != ".go" {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		files++
		if n := bytes.Count(text, []byte("\n")); n > mostLines {
			t.Errorf("%s has %d lines, more than %d", path, n, mostLines)
		}
		if strings.HasSuffix(path, "_test.go") || strings.HasPrefix(path, "../../rotation/journal/") { // whose databases have the whole contract
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, text, 0)
		if err != nil {
			return err
		}
		for _, d := range f.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv != nil {
				methods[filepath.Dir(path)+"."+receiver(fn.Recv.List[0].Type)]++
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if files < 100 {
		t.Errorf("only %d files were found", files)
	}
	for of, n := range methods {
		if n > mostMethods {
			t.Errorf("%s has %d methods, more than %d", of, n, mostMethods)
		}
	}
}

// receiver is the name of a method's type.
func receiver(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.StarExpr:
		return receiver(e.X)
	case *ast.IndexExpr:
		return receiver(e.X)
	case *ast.IndexListExpr:
		return receiver(e.X)
	case *ast.Ident:
		return e.Name
	}
	return ""
}

// TestInterfaces: an interface is where it is used, and has at most five methods of its own. One that needs more is made of
// smaller ones, each of which a reader and a test understand alone. The journal's contract is the exception: its databases have
// all of it, and nothing uses it whole.
func TestInterfaces(t *testing.T) {
	t.Parallel()
	const most = 5
	found := 0
	err := filepath.WalkDir("../..", func(path string, e os.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case e.IsDir() && (strings.HasPrefix(e.Name(), ".") && path != "../.." || path == "../../rotation/journal" || e.Name() == "testdata"):
			return filepath.SkipDir
		case filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go"):
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			return err
		}
		ast.Inspect(f, func(n ast.Node) bool {
			spec, _ := n.(*ast.TypeSpec)
			if spec == nil {
				return true
			}
			if i, ok := spec.Type.(*ast.InterfaceType); ok {
				found++
				own := 0
				for _, m := range i.Methods.List {
					own += len(m.Names)
				}
				if own > most {
					t.Errorf("%s: %s has %d methods, more than %d", path, spec.Name.Name, own, most)
				}
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if found < 30 {
		t.Errorf("only %d interfaces were found", found)
	}
}
