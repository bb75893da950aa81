package rotation_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// changes are the methods that change something outside, with the kind of the effect that must be in the book before
// they are called.
var changes = map[string]string{
	"CreateKey": "EffectCreate", "UpdateKey": "", "DeleteKey": "EffectDelete", // an update may be of three kinds
	"Stage": "EffectStage", "Unstage": "EffectUnstage", "Promote": "EffectPromote", "Fence": "EffectFence",
	"Discard": "EffectUnstage",
}

// never are methods that no part of the program calls. RotateKey lets the old secret die by itself.
var never = []string{"RotateKey"}

// TestChangesAreSentByTheRunner shows that nothing outside is changed but inside a function that is passed to the runner,
// which has recorded it before, and that a disable or a delete is recorded only right behind the gate.
func TestChangesAreSentByTheRunner(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	sent := map[string]bool{}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		source, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		faults, methods := unsent(t, name, string(source))
		for _, f := range faults {
			t.Error(f)
		}
		for _, m := range methods {
			sent[m] = true
		}
	}
	for m := range changes {
		if m != "Discard" && !sent[m] { // handles call it Unstage
			t.Errorf("%s is never sent: this test looks for the wrong calls", m)
		}
	}
}

// TestOthersChangeNoKeys shows that no other package of the program calls what changes keys. xAI's client and what is
// before it, under the same name, are left out.
func TestOthersChangeNoKeys(t *testing.T) {
	t.Parallel()
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel := filepath.ToSlash(strings.TrimPrefix(path, ".."+string(filepath.Separator)))
		if d.IsDir() {
			if rel == "rotation" || strings.HasPrefix(d.Name(), ".") && d.Name() != ".." {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") || strings.HasPrefix(rel, "xai/") {
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		eachSelector(file, func(trail []ast.Node, sel *ast.SelectorExpr) {
			name := sel.Sel.Name
			if strings.HasSuffix(name, "Key") && (changes[name] != "" || name == "UpdateKey" || slices.Contains(never, name)) && !passedOn(trail, name) {
				t.Errorf("%s calls %s", rel, name)
			}
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestUnsentChangesAreFound shows that the test above finds what it looks for.
func TestUnsentChangesAreFound(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, file, body, want string }{
		{"a call by itself", "promote.go", `h.Promote(ctx, ref, value, "")`, "Promote outside"},
		{"before the runner", "destroy.go", `err := team.Keys.DeleteKey(ctx, id)
			_ = r.runner.Do(ctx, e, func(ctx context.Context) error { return err })`, "DeleteKey outside"},
		{"in a function that others call", "heal.go", `later(func() { h.Stage(ctx, ref, value) })`, "Stage outside"},
		{"taken as a value", "heal.go", `f := h.Fence; _ = f(ctx)`, "Fence outside"},
		{"a store itself", "heal.go", `st.Discard(ctx, at, ref)`, "Discard outside"},
		{"never to be called", "heal.go", `_ = r.runner.Send(ctx, id, func(ctx context.Context) error { return team.Keys.RotateKey(ctx, id) })`, "RotateKey"},
		{"under another kind", "create.go", `_ = r.runner.Do(ctx, journal.Effect{Kind: journal.EffectFence}, func(ctx context.Context) error { return h.Stage(ctx, ref, v) })`, "Stage as EffectFence"},
		{"a delete without the gate", "destroy.go", `_ = r.runner.Do(ctx, journal.Effect{Kind: journal.EffectDelete}, func(ctx context.Context) error { return team.Keys.DeleteKey(ctx, id) })`, "EffectDelete without the gate"},
		{"the gate for another kind", "destroy.go", `if _, err := gate(ctx, r, k, journal.EffectDisable); err != nil { return err }
			_ = r.runner.Do(ctx, journal.Effect{Kind: journal.EffectDelete}, func(ctx context.Context) error { return team.Keys.DeleteKey(ctx, id) })`, "EffectDelete without the gate"},
		{"the gate unheard", "destroy.go", `_, err := gate(ctx, r, k, journal.EffectDelete)
			log(err)
			_ = r.runner.Do(ctx, journal.Effect{Kind: journal.EffectDelete}, func(ctx context.Context) error { return team.Keys.DeleteKey(ctx, id) })`, "EffectDelete without the gate"},
		{"the gate afterwards", "destroy.go", `_ = r.runner.Do(ctx, journal.Effect{Kind: journal.EffectDisable}, func(ctx context.Context) error { return nil })
			if _, err := gate(ctx, r, k, journal.EffectDisable); err != nil { return err }`, "EffectDisable without the gate"},
		{"in another file", "settle.go", `if _, err := gate(ctx, r, k, journal.EffectDelete); err != nil { return err }
			_ = r.runner.Do(ctx, journal.Effect{Kind: journal.EffectDelete}, func(ctx context.Context) error { return team.Keys.DeleteKey(ctx, id) })`, "EffectDelete without the gate"},
		{"a kind in a variable", "settle.go", `kind := journal.EffectDelete; _ = r.runner.Do(ctx, journal.Effect{Kind: kind}, f)`, "EffectDelete without the gate"},
		{"a disable called an update", "rehearse.go", `_ = r.runner.Do(ctx, journal.Effect{Kind: journal.EffectUpdate}, func(ctx context.Context) error {
			_, err := team.Keys.UpdateKey(ctx, team.ID, id, xai.KeyUpdate{Disabled: &off})
			return err
		})`, "Disabled"},
	} {
		source := "package rotation\n\nfunc f(ctx context.Context, r *run, k *journal.Key) error {\n" + c.body + "\nreturn nil\n}\n"
		faults, _ := unsent(t, c.file, source)
		if !slices.ContainsFunc(faults, func(f string) bool { return strings.Contains(f, c.want) }) {
			t.Errorf("%s: found %q, want one of %q", c.name, faults, c.want)
		}
	}
}

// unsent reads a file of package rotation. faults are the places at which something outside is changed, or a disable or
// delete recorded, in another way than the only one; sent are the methods that it passes to the runner.
func unsent(t *testing.T, name, source string) (faults, sent []string) {
	t.Helper()
	set := token.NewFileSet()
	file, err := parser.ParseFile(set, name, source, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	fault := func(n ast.Node, format string, args ...any) {
		faults = append(faults, fmt.Sprintf("%s: %s", set.Position(n.Pos()), fmt.Sprintf(format, args...)))
	}
	eachSelector(file, func(trail []ast.Node, sel *ast.SelectorExpr) {
		method := sel.Sel.Name
		kind, watched := changes[method]
		switch {
		case slices.Contains(never, method):
			fault(sel, "%s is never to be called", method)
		case isEffect(sel, "EffectDisable"), isEffect(sel, "EffectDelete"):
			if records(trail) && (name != "destroy.go" || !behindGate(trail, method)) {
				fault(sel, "%s without the gate", method)
			}
		case !watched, passedOn(trail, method):
		default:
			call := sender(trail)
			if call == nil {
				fault(sel, "%s outside of a function that is passed to the runner", method)
				return
			}
			sent = append(sent, method)
			if is := kindOf(call); kind != "" && is != "" && is != kind {
				fault(sel, "%s as %s", method, is)
			}
		}
	})
	inspect(file, func(trail []ast.Node, n ast.Node) {
		lit, ok := n.(*ast.CompositeLit)
		if !ok || !hasKey(lit, "Disabled") || !named(lit.Type, "KeyUpdate") {
			return
		}
		on := slices.ContainsFunc(trail, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			return ok && slices.ContainsFunc(call.Args, func(a ast.Expr) bool { return mentions(a, "EffectEnable") })
		})
		if call := sender(trail); !on && (name != "destroy.go" || call == nil || kindOf(call) != "EffectDisable") {
			fault(lit, "Disabled is set in another update than an enable or a disable")
		}
	})
	return faults, sent
}

// inspect visits every node with those that it is in, the outermost first.
func inspect(root ast.Node, visit func(trail []ast.Node, n ast.Node)) {
	var trail []ast.Node
	ast.Inspect(root, func(n ast.Node) bool {
		if n == nil {
			trail = trail[:len(trail)-1]
			return true
		}
		visit(trail, n)
		trail = append(trail, n)
		return true
	})
}

func eachSelector(root ast.Node, visit func([]ast.Node, *ast.SelectorExpr)) {
	inspect(root, func(trail []ast.Node, n ast.Node) {
		if sel, ok := n.(*ast.SelectorExpr); ok {
			visit(trail, sel)
		}
	})
}

// passedOn reports whether a call is in a method of the same name, which passes it on: its callers are looked at.
func passedOn(trail []ast.Node, method string) bool {
	return slices.ContainsFunc(trail, func(n ast.Node) bool {
		f, ok := n.(*ast.FuncDecl)
		return ok && f.Recv != nil && f.Name.Name == method
	})
}

// sender is the call of the runner to which what trail leads to is passed: inside a function literal, or as a method value.
func sender(trail []ast.Node) *ast.CallExpr {
	for i := len(trail) - 1; i >= 0; i-- {
		call, ok := trail[i].(*ast.CallExpr)
		if !ok || !toRunner(call) {
			continue
		}
		if i == len(trail)-1 { // the selector itself is an argument, or the function that is called
			return call
		}
		if lit, ok := trail[i+1].(*ast.FuncLit); ok && slices.Contains(call.Args, ast.Expr(lit)) {
			return call
		}
	}
	return nil
}

func toRunner(call *ast.CallExpr) bool {
	fun, ok := call.Fun.(*ast.SelectorExpr)
	if !ok || fun.Sel.Name != "Send" && fun.Sel.Name != "Do" {
		return false
	}
	return named(fun.X, "runner")
}

// named reports whether an expression is an identifier or ends in a selector of that name.
func named(x ast.Expr, name string) bool {
	switch x := x.(type) {
	case *ast.Ident:
		return x.Name == name
	case *ast.SelectorExpr:
		return x.Sel.Name == name
	}
	return false
}

func isEffect(sel *ast.SelectorExpr, name string) bool {
	return named(sel.X, "journal") && sel.Sel.Name == name
}

// kindOf is the kind of the effect that a call of Do records; "" where the call does not say it.
func kindOf(call *ast.CallExpr) (kind string) {
	for _, a := range call.Args {
		if lit, ok := a.(*ast.CompositeLit); ok {
			for _, e := range lit.Elts {
				if kv, ok := e.(*ast.KeyValueExpr); ok && named(kv.Key, "Kind") {
					if sel, ok := kv.Value.(*ast.SelectorExpr); ok {
						kind = sel.Sel.Name
					}
				}
			}
		}
	}
	return kind
}

func hasKey(lit *ast.CompositeLit, key string) bool {
	return slices.ContainsFunc(lit.Elts, func(e ast.Expr) bool {
		kv, ok := e.(*ast.KeyValueExpr)
		return ok && named(kv.Key, key)
	})
}

func mentions(x ast.Expr, name string) (found bool) {
	eachSelector(x, func(_ []ast.Node, sel *ast.SelectorExpr) { found = found || sel.Sel.Name == name })
	return found
}

// records reports whether a kind of effect is used for anything but a comparison, a question to the gate, or a lookup.
func records(trail []ast.Node) bool {
	switch n := trail[len(trail)-1].(type) {
	case *ast.BinaryExpr:
		return n.Op != token.EQL && n.Op != token.NEQ
	case *ast.CaseClause:
		return false
	case *ast.CallExpr:
		return !named(n.Fun, "gate") && !named(n.Fun, "settleAll") && !named(n.Fun, "quietAt")
	}
	return true
}

// behindGate reports whether in a block that leads to here, the gate was asked for that kind, and whoever it refused left
// at once.
func behindGate(trail []ast.Node, kind string) bool {
	for i, n := range trail {
		block, ok := n.(*ast.BlockStmt)
		if !ok || i+1 >= len(trail) {
			continue
		}
		for j, stmt := range block.List {
			if ast.Node(stmt) == trail[i+1] {
				break
			}
			if leaves, ok := stmt.(*ast.IfStmt); ok && returns(leaves) && asksGate(leaves.Init, kind) {
				return true
			}
			if asksGate(stmt, kind) && j+1 < len(block.List) {
				if leaves, ok := block.List[j+1].(*ast.IfStmt); ok && leaves.Init == nil && returns(leaves) && ast.Node(leaves) != trail[i+1] {
					return true
				}
			}
		}
	}
	return false
}

func asksGate(stmt ast.Stmt, kind string) bool {
	set, ok := stmt.(*ast.AssignStmt)
	if !ok || len(set.Rhs) != 1 {
		return false
	}
	call, ok := set.Rhs[0].(*ast.CallExpr)
	return ok && named(call.Fun, "gate") && len(call.Args) > 0 && mentions(call.Args[len(call.Args)-1], kind)
}

// returns reports whether a condition is `err != nil` and what follows it returns.
func returns(s *ast.IfStmt) bool {
	cond, ok := s.Cond.(*ast.BinaryExpr)
	if !ok || cond.Op != token.NEQ || !named(cond.X, "err") || !named(cond.Y, "nil") || len(s.Body.List) == 0 {
		return false
	}
	_, ok = s.Body.List[len(s.Body.List)-1].(*ast.ReturnStmt)
	return ok
}
