package weir

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// decode reads the YAML document into the struct that v points to, by its yaml
// tags. The library's own decoder gives up at the first mistake.
func (k *checker) decode(data []byte, v any) {
	if !utf8.Valid(data) {
		k.failAt(position{1, 1}, "the file is not UTF-8 text")
		return
	}
	file, err := parser.ParseBytes(data, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		var syntax yaml.Error
		at, message := position{1, 1}, err.Error()
		if errors.As(err, &syntax) {
			message = syntax.GetMessage()
			if tk := syntax.GetToken(); tk != nil {
				at = positionOf(tk)
			}
		}
		k.failAt(at, "not YAML: %s", message)
		return
	}
	var body ast.Node
	for _, doc := range file.Docs {
		switch {
		case doc.Body == nil:
		case body != nil:
			k.failAt(nodePosition(doc.Body), "a second document; a configuration is one")
			return
		default:
			body = doc.Body
		}
	}
	if body == nil {
		k.failAt(position{1, 1}, "the file is empty; at least streams is needed")
		return
	}
	k.value("", body, reflect.ValueOf(v).Elem())
}

// failValue reports the value at a path as one that could not be decoded.
func (k *checker) failValue(path string, node ast.Node, format string, args ...any) {
	k.unsound[path] = true
	k.failAt(nodePosition(node), format, args...)
}

// customDecoder is a type with a notation of its own.
type customDecoder interface {
	decodeYAML(k *checker, path string, node ast.Node)
}

var (
	durationType = reflect.TypeFor[time.Duration]()
	sizeType     = reflect.TypeFor[Size]()
)

func (k *checker) value(path string, node ast.Node, v reflect.Value) {
	switch node.(type) {
	case *ast.AnchorNode, *ast.AliasNode, *ast.TagNode:
		k.failValue(path, node, "anchors, aliases and tags are not read; write the value out")
		return
	}
	if custom, ok := v.Addr().Interface().(customDecoder); ok {
		custom.decodeYAML(k, path, node)
		return
	}
	switch {
	case v.Type() == durationType:
		k.scalar(path, node, "a duration such as 10s, 5m or 7d", func(text string) error {
			d, err := parseDuration(text)
			v.SetInt(int64(d))
			return err
		})
	case v.Type() == sizeType:
		k.scalar(path, node, "a size such as 512KiB or 64MiB", func(text string) error {
			size, err := parseSize(text)
			v.SetInt(int64(size))
			return err
		})
	case v.Kind() == reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		k.value(path, node, v.Elem())
	case v.Kind() == reflect.Struct:
		k.structure(path, node, v)
	case v.Kind() == reflect.Map:
		k.mapping(path, node, v)
	case v.Kind() == reflect.Slice:
		k.sequence(path, node, v)
	case v.Kind() == reflect.String:
		k.scalar(path, node, "a text", func(text string) error { v.SetString(text); return nil })
	case v.Kind() == reflect.Int, v.Kind() == reflect.Uint64, v.Kind() == reflect.Float64:
		k.number(path, node, v)
	case v.Kind() == reflect.Bool:
		k.scalar(path, node, "true or false", func(text string) error {
			if text != "true" && text != "false" {
				return fmt.Errorf("%q is neither true nor false", text)
			}
			v.SetBool(text == "true")
			return nil
		})
	default:
		panic(fmt.Sprintf("weir: no way to decode %s into %s", path, v.Type()))
	}
}

// scalar passes the text of a scalar on. An empty value is a mistake: a key is
// either given a value or left out.
func (k *checker) scalar(path string, node ast.Node, want string, set func(text string) error) {
	text, ok := scalarText(node)
	if !ok {
		k.failValue(path, node, "%s is %s; it wants %s", lastKey(path), describe(node), want)
		return
	}
	if err := set(text); err != nil {
		k.failValue(path, node, "%s: %v", lastKey(path), err)
	}
}

func (k *checker) number(path string, node ast.Node, v reflect.Value) {
	k.scalar(path, node, "a number", func(text string) error {
		text = strings.ReplaceAll(text, "_", "")
		bad := func(want string) error { return fmt.Errorf("%q is not %s", text, want) }
		switch v.Kind() {
		case reflect.Int:
			n, err := strconv.ParseInt(text, 10, 64)
			if err != nil {
				return bad("a whole number")
			}
			v.SetInt(n)
		case reflect.Uint64:
			n, err := strconv.ParseUint(text, 10, 64)
			if err != nil {
				return bad("a whole number from 0 to 18446744073709551615")
			}
			v.SetUint(n)
		default:
			x, err := strconv.ParseFloat(text, 64)
			if err != nil || math.IsNaN(x) || math.IsInf(x, 0) {
				return bad("a number")
			}
			v.SetFloat(x)
		}
		return nil
	})
}

// structure decodes a mapping whose keys are the fields of a struct.
func (k *checker) structure(path string, node ast.Node, v reflect.Value) {
	k.entries(path, node, func(at position, key, sub string, value ast.Node) {
		var names []string
		for i := range v.NumField() {
			field := v.Type().Field(i)
			if field.Tag == "" {
				continue
			}
			name, _, _ := strings.Cut(field.Tag.Get("yaml"), ",")
			if name == key {
				k.value(sub, value, v.Field(i))
				return
			}
			names = append(names, name)
		}
		k.unsound[sub] = true
		k.failAt(at, "unknown key %q%s%s", key, within(path), suggest(key, names))
	})
}

// mapping decodes a mapping whose keys are names of the user's choice.
func (k *checker) mapping(path string, node ast.Node, v reflect.Value) {
	v.Set(reflect.MakeMap(v.Type()))
	k.entries(path, node, func(at position, key, sub string, value ast.Node) {
		element := reflect.New(v.Type().Elem()).Elem()
		if _, null := value.(*ast.NullNode); null && element.Kind() == reflect.Pointer {
			element.Set(reflect.New(element.Type().Elem()))
		} else {
			k.value(sub, value, element)
		}
		// A value that could not be decoded still has a name to check.
		if element.Kind() != reflect.Pointer || !element.IsNil() {
			v.SetMapIndex(reflect.ValueOf(key), element)
		}
	})
}

func (k *checker) sequence(path string, node ast.Node, v reflect.Value) {
	seq, ok := node.(*ast.SequenceNode)
	if !ok {
		k.failValue(path, node, "%s is %s; it wants a list", lastKey(path), describe(node))
		return
	}
	for i, item := range seq.Values {
		sub := fmt.Sprintf("%s.%d", path, i)
		k.at[sub] = nodePosition(item)
		element := reflect.New(v.Type().Elem()).Elem()
		k.value(sub, item, element)
		v.Set(reflect.Append(v, element))
	}
	if v.IsNil() {
		v.Set(reflect.MakeSlice(v.Type(), 0, 0)) // an empty list is not one left out
	}
}

// entries calls visit for each entry of a mapping, with the path below it.
func (k *checker) entries(path string, node ast.Node, visit func(at position, key, sub string, value ast.Node)) {
	if _, null := node.(*ast.NullNode); null {
		return
	}
	m, ok := node.(ast.MapNode)
	if !ok {
		name := "a configuration"
		if path != "" {
			name = lastKey(path)
		}
		k.failValue(path, node, "%s is %s; it wants keys and values", name, describe(node))
		return
	}
	seen := map[string]position{}
	for it := m.MapRange(); it.Next(); {
		key, ok := scalarText(it.Key())
		if !ok || it.Key().IsMergeKey() {
			k.failAt(nodePosition(it.Key()), "a key that is not a plain text")
			continue
		}
		at := nodePosition(it.Key())
		if first, twice := seen[key]; twice {
			k.failAt(at, "%s is given twice, first in line %d", key, first.line)
			continue
		}
		seen[key] = at
		sub := key
		if path != "" {
			sub = path + "." + key
		}
		k.at[sub] = at
		visit(at, key, sub, it.Value())
	}
}

func (d *DimensionConfig) decodeYAML(k *checker, path string, node ast.Node) {
	if text, ok := scalarText(node); ok {
		if name := text[strings.LastIndexByte(text, '.')+1:]; name != text {
			k.failValue(path, node, "dimension %q lies inside another object and needs a name, such as {%s: %s}", text, name, text)
			return
		}
		d.Name, d.Field = text, Path(text)
		return
	}
	if m, ok := node.(ast.MapNode); ok {
		it := m.MapRange()
		if it.Next() {
			name, ok1 := scalarText(it.Key())
			field, ok2 := scalarText(it.Value())
			if ok1 && ok2 && !it.Next() {
				d.Name, d.Field = name, Path(field)
				return
			}
		}
	}
	k.failValue(path, node, "a dimension is %s; it wants a field name, or a single {name: path.to.field}", describe(node))
}

// scalarText returns the text of a scalar node as it is written.
func scalarText(node ast.Node) (string, bool) {
	switch n := node.(type) {
	case *ast.StringNode:
		return n.Value, true
	case *ast.LiteralNode:
		return n.Value.Value, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		return node.GetToken().Value, true
	}
	return "", false
}

func describe(node ast.Node) string {
	switch node.(type) {
	case *ast.NullNode:
		return "empty"
	case *ast.SequenceNode:
		return "a list"
	case ast.MapNode:
		return "a mapping"
	}
	if text, ok := scalarText(node); ok {
		return strconv.Quote(text)
	}
	return "something else"
}

func nodePosition(node ast.Node) position { return positionOf(node.GetToken()) }

func positionOf(tk *token.Token) position {
	if tk == nil || tk.Position == nil {
		return position{1, 1}
	}
	return position{max(tk.Position.Line, 1), max(tk.Position.Column, 1)}
}
