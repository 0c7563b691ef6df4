// Command network-policy-api reads the conformance tests of a module sigs.k8s.io/network-policy-api.
//
// It reads one JSON string per line on standard input, the module's directory, and writes one JSON answer per line:
// `tests`, each with `name`, `manifests` and `body` (statements as nested lists, whose first item says what they are),
// and `constants` (strings, of the tests and of the newest API version; those of the API with `api.` before them), or
// `error`. What it does not know is an error: nothing of a test is left out.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"sort"
	"strconv"
)

type test struct {
	Name      string   `json:"name"`
	Manifests []string `json:"manifests"`
	Body      []any    `json:"body"`
}

type answer struct {
	Tests     []test            `json:"tests,omitempty"`
	Constants map[string]string `json:"constants,omitempty"`
	Error     string            `json:"error,omitempty"`
}

func unknown(files *token.FileSet, node ast.Node) {
	panic(fmt.Sprintf("%s: %T is not known", files.Position(node.Pos()), node))
}

// files parses a directory's Go files, in the order of their names.
func parse(set *token.FileSet, dir string) []*ast.File {
	names, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil || len(names) == 0 {
		panic(fmt.Sprintf("no Go files in %s", dir))
	}
	sort.Strings(names)
	var out []*ast.File
	for _, name := range names {
		file, err := parser.ParseFile(set, name, nil, parser.SkipObjectResolution)
		if err != nil {
			panic(err.Error())
		}
		out = append(out, file)
	}
	return out
}

// values calls back for each constant or variable of the package that has a value.
func values(file *ast.File, found func(name string, value ast.Expr)) {
	for _, part := range file.Decls {
		declared, ok := part.(*ast.GenDecl)
		if !ok {
			continue
		}
		for _, one := range declared.Specs {
			if spec, ok := one.(*ast.ValueSpec); ok && len(spec.Values) == len(spec.Names) {
				for i, name := range spec.Names {
					found(name.Name, spec.Values[i])
				}
			}
		}
	}
}

func literal(node *ast.BasicLit) any {
	if node.Kind == token.STRING {
		text, err := strconv.Unquote(node.Value)
		if err != nil {
			panic(err.Error())
		}
		return text
	}
	number, err := strconv.Atoi(node.Value)
	if err != nil {
		panic(err.Error())
	}
	return number
}

type reader struct{ set *token.FileSet }

func (r reader) each(nodes []ast.Expr) []any {
	out := []any{}
	for _, node := range nodes {
		out = append(out, r.expression(node))
	}
	return out
}

func (r reader) expression(node ast.Expr) []any {
	switch it := node.(type) {
	case nil:
		return []any{"none"}
	case *ast.BasicLit:
		return []any{"literal", literal(it)}
	case *ast.Ident:
		return []any{"name", it.Name}
	case *ast.SelectorExpr:
		return []any{"field", r.expression(it.X), it.Sel.Name}
	case *ast.IndexExpr:
		return []any{"item", r.expression(it.X), r.expression(it.Index)}
	case *ast.CallExpr:
		return []any{"call", r.expression(it.Fun), r.each(it.Args)}
	case *ast.CompositeLit:
		return []any{"made", r.expression(it.Type), r.each(it.Elts)}
	case *ast.KeyValueExpr:
		return []any{"pair", r.expression(it.Key), r.expression(it.Value)}
	case *ast.ArrayType:
		return []any{"list of", r.expression(it.Elt)}
	case *ast.MapType:
		return []any{"map"}
	case *ast.FuncLit:
		return []any{"function", r.block(it.Body)}
	case *ast.UnaryExpr:
		if it.Op == token.AND {
			return r.expression(it.X)
		}
	case *ast.BinaryExpr:
		if it.Op == token.ADD {
			return []any{"plus", r.expression(it.X), r.expression(it.Y)}
		}
	}
	unknown(r.set, node)
	return nil
}

func (r reader) block(node *ast.BlockStmt) []any {
	out := []any{}
	for _, one := range node.List {
		out = append(out, r.statement(one))
	}
	return out
}

func (r reader) statement(node ast.Stmt) []any {
	switch it := node.(type) {
	case *ast.ExprStmt:
		return []any{"do", r.expression(it.X)}
	case *ast.DeferStmt:
		return []any{"defer", r.expression(it.Call)}
	case *ast.AssignStmt:
		if it.Tok == token.ASSIGN || it.Tok == token.DEFINE {
			return []any{"set", r.each(it.Lhs), r.each(it.Rhs)}
		}
	case *ast.DeclStmt:
		out := []any{"declare"}
		for _, one := range it.Decl.(*ast.GenDecl).Specs {
			spec := one.(*ast.ValueSpec)
			if len(spec.Values) > 0 {
				unknown(r.set, node)
			}
			for _, name := range spec.Names {
				out = append(out, name.Name)
			}
		}
		return out
	case *ast.IfStmt:
		if it.Init == nil {
			otherwise := []any{}
			if it.Else != nil {
				otherwise = r.block(it.Else.(*ast.BlockStmt))
			}
			return []any{"if", r.expression(it.Cond), r.block(it.Body), otherwise}
		}
	}
	unknown(r.set, node)
	return nil
}

// read makes a test of a suite.ConformanceTest{...}; nil when the value is something else.
func (r reader) read(value ast.Expr) *test {
	made, ok := value.(*ast.CompositeLit)
	if !ok {
		return nil
	}
	kind, ok := made.Type.(*ast.SelectorExpr)
	if !ok || kind.Sel.Name != "ConformanceTest" {
		return nil
	}
	out := &test{}
	for _, one := range made.Elts {
		pair := one.(*ast.KeyValueExpr)
		switch key := pair.Key.(*ast.Ident).Name; key {
		case "ShortName":
			out.Name = literal(pair.Value.(*ast.BasicLit)).(string)
		case "Manifests":
			for _, path := range pair.Value.(*ast.CompositeLit).Elts {
				out.Manifests = append(out.Manifests, literal(path.(*ast.BasicLit)).(string))
			}
		case "Test":
			out.Body = r.block(pair.Value.(*ast.FuncLit).Body)
		case "Description", "Features":
		default:
			panic(fmt.Sprintf("%s: field %s is not known", r.set.Position(pair.Pos()), key))
		}
	}
	return out
}

func ask(dir string) (out answer) {
	defer func() {
		if why := recover(); why != nil {
			out = answer{Error: fmt.Sprint(why)}
		}
	}()
	out.Constants = map[string]string{}
	r := reader{token.NewFileSet()}
	constant := func(prefix string) func(string, ast.Expr) {
		return func(name string, value ast.Expr) {
			if text, ok := value.(*ast.BasicLit); ok && text.Kind == token.STRING {
				out.Constants[prefix+name] = literal(text).(string)
			}
		}
	}
	for _, file := range parse(r.set, filepath.Join(dir, "apis", "v1beta1")) {
		values(file, constant("api."))
	}
	for _, file := range parse(r.set, filepath.Join(dir, "conformance", "tests")) {
		values(file, constant(""))
		values(file, func(_ string, value ast.Expr) {
			if found := r.read(value); found != nil {
				out.Tests = append(out.Tests, *found)
			}
		})
	}
	return out
}

func main() {
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(nil, 1<<20)
	told := json.NewEncoder(os.Stdout)
	for in.Scan() {
		var dir string
		if err := json.Unmarshal(in.Bytes(), &dir); err != nil {
			panic(err)
		}
		if err := told.Encode(ask(dir)); err != nil {
			panic(err)
		}
	}
}
