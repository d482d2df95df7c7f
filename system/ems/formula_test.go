package ems_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/voltageems/voltageems-go/system/ems"
)

// given are the numbers that the formulas of the tests are fed with.
func given(name string) float64 {
	return map[string]float64{"a": 2, "b": 3, "c": 8, "zero": 0, "voltage_l1": 230, "min": 7, "_x": 11}[name]
}

func TestExpressions(t *testing.T) {
	for _, test := range []struct {
		text  string
		want  float64
		names []string
	}{
		{"12", 12, nil},
		{"0.5", 0.5, nil},
		{"5.", 5, nil},
		{"007", 7, nil},
		{"a", 2, []string{"a"}},
		{"a+b*c", 26, []string{"a", "b", "c"}},
		{"(a+b)*c", 40, []string{"a", "b", "c"}},
		{"c-b-a", 3, []string{"c", "b", "a"}},
		{"c/a/a", 2, []string{"c", "a"}},
		{"c-(b-a)", 7, []string{"c", "b", "a"}},
		{"-a*b", -6, []string{"a", "b"}},
		{"a*-b", -6, []string{"a", "b"}},
		{"a--b", 5, []string{"a", "b"}},
		{"- - -a", -2, []string{"a"}},
		{"-(a+b)", -5, []string{"a", "b"}},
		{" a\t+\n b ", 5, []string{"a", "b"}},
		{"min(a,b,c)", 2, []string{"a", "b", "c"}},
		{"max(a , b, c)", 8, []string{"a", "b", "c"}},
		{"sum(a,a,b)", 7, []string{"a", "b"}},
		{"mean(a,b,c,1)", 3.5, []string{"a", "b", "c"}},
		{"abs(a-c)", 6, []string{"a", "c"}},
		{"abs (-4)", 4, nil},
		{"min+min(min,3)", 10, []string{"min"}}, // a function only before "("
		{"_x*2", 22, []string{"_x"}},
		{"voltage_l1*1.5/100", 3.45, []string{"voltage_l1"}},
		{"a/zero", math.Inf(1), []string{"a", "zero"}},
		{"min(a/zero, b)", 3, []string{"a", "zero", "b"}},
		{"zero/zero", math.NaN(), []string{"zero"}},
		{"min(a, zero/zero)", math.NaN(), []string{"a", "zero"}},
		{"max(zero/zero, a)", math.NaN(), []string{"zero", "a"}},
		{strings.Repeat("(", 32) + "a" + strings.Repeat(")", 32), 2, []string{"a"}},
		{strings.Repeat("-", 32) + "a", 2, []string{"a"}},
		{strings.Repeat("a+", 249) + "aa", 498, []string{"a", "aa"}}, // 500 bytes
	} {
		formula, err := ems.ParseFormula(test.text)
		if err != nil {
			t.Errorf("%s: %v", test.text, err)
			continue
		}
		if got := formula.Eval(given); got != test.want && !(math.IsNaN(got) && math.IsNaN(test.want)) {
			t.Errorf("%s = %v, want %v", test.text, got, test.want)
		}
		if difference := cmp.Diff(test.names, formula.Names()); difference != "" {
			t.Errorf("%s: names %s", test.text, difference)
		}
	}
}

func TestAFaultyExpressionSaysWhereAndWhatWasExpected(t *testing.T) {
	for text, want := range map[string]string{
		"":                                   "byte 1: expected a number, a name, - or (, found the end",
		"  ":                                 "byte 3: expected a number, a name, - or (, found the end",
		"a+":                                 "byte 3: expected a number, a name, - or (, found the end",
		"a b":                                "byte 3: expected +, -, *, / or the end, found 'b'",
		"a+*b":                               "byte 3: expected a number, a name, - or (, found '*'",
		"+a":                                 "byte 1: expected a number, a name, - or (, found '+'",
		"(a":                                 "byte 3: expected +, -, *, / or ), found the end",
		"a)":                                 "byte 2: expected +, -, *, / or the end, found ')'",
		"()":                                 "byte 2: expected a number, a name, - or (, found ')'",
		"1e5":                                "byte 2: expected +, -, *, / or the end, found 'e'",
		".5":                                 "byte 1: expected a number, a name, - or (, found '.'",
		"1.2.3":                              "byte 4: expected +, -, *, / or the end, found '.'",
		"0x10":                               "byte 2: expected +, -, *, / or the end, found 'x'",
		"a ° b":                              "byte 3: expected +, -, *, / or the end, found '°'",
		"a\x00":                              `byte 2: expected +, -, *, / or the end, found '\x00'`,
		"a\r":                                `byte 2: expected +, -, *, / or the end, found '\r'`,
		"a%b":                                "byte 2: expected +, -, *, / or the end, found '%'",
		"soc-1.a":                            "byte 7: expected +, -, *, / or the end, found 'a'",
		"sqrt(a)":                            `byte 1: expected one of the functions min, max, sum, mean and abs, found "sqrt"`,
		"2*b(a)":                             `byte 3: expected one of the functions min, max, sum, mean and abs, found "b"`,
		"max()":                              "byte 5: expected a number, a name, - or (, found ')'",
		"max(a,)":                            "byte 7: expected a number, a name, - or (, found ')'",
		"max(a b)":                           "byte 7: expected +, -, *, /, a comma or ), found 'b'",
		"abs(a,b)":                           "byte 6: expected ), because abs takes one argument, found ','",
		strings.Repeat("9", 309):             "byte 1: this number is larger than any that can be computed with",
		strings.Repeat("(", 33):              "byte 33: more than 32 parentheses or signs within one another",
		strings.Repeat("-", 33) + "a":        "byte 33: more than 32 parentheses or signs within one another",
		strings.Repeat("(-max(", 11) + "a":   "byte 66: more than 32 parentheses or signs within one another",
		strings.Repeat("a+", 250) + "a":      "501 bytes are more than the 500 that fit: split it into several computed values",
		strings.Repeat("a+", 120) + "a) + (": "byte 242: expected +, -, *, / or the end, found ')'",
	} {
		_, err := ems.ParseFormula(text)
		if ems.CodeOf(err) != ems.CodeInvalid || err.Error() != want {
			t.Errorf("%.40q: got %v, want %s", text, err, want)
		}
	}
}

func number(value float64) *float64 { return &value }

func TestFunctionsOfNames(t *testing.T) {
	for _, test := range []struct {
		field ems.ComputedField
		want  float64
	}{
		{ems.ComputedField{Function: "sum", Of: []string{"a", "b", "a"}}, 7},
		{ems.ComputedField{Function: "sum", Of: []string{"a"}}, 2},
		{ems.ComputedField{Function: "mean", Of: []string{"a", "b", "c", "min"}}, 5},
		{ems.ComputedField{Function: "min", Of: []string{"c", "b"}}, 3},
		{ems.ComputedField{Function: "max", Of: []string{"c", "b"}}, 8},
		{ems.ComputedField{Function: "difference", Of: []string{"b", "c"}}, -5},
		{ems.ComputedField{Function: "scale", Of: []string{"b"}}, 3},
		{ems.ComputedField{Function: "scale", Of: []string{"b"}, Factor: number(-2)}, -6},
		{ems.ComputedField{Function: "scale", Of: []string{"b"}, Offset: number(0.5)}, 3.5},
		{ems.ComputedField{Function: "scale", Of: []string{"b"}, Factor: number(0), Offset: number(4)}, 4},
		{ems.ComputedField{Expression: "b * c"}, 24},
	} {
		formula, err := test.field.Formula()
		if err != nil {
			t.Errorf("%+v: %v", test.field, err)
			continue
		}
		if got := formula.Eval(given); got != test.want {
			t.Errorf("%+v = %v, want %v", test.field, got, test.want)
		}
		if of := slices.Compact(slices.Sorted(slices.Values(test.field.Of))); test.field.Of != nil && len(formula.Names()) != len(of) {
			t.Errorf("%+v has the names %v", test.field, formula.Names())
		}
	}
}

func TestFaultyFunctionsOfNames(t *testing.T) {
	many := strings.Split(strings.Repeat("a,", 100)+"a", ",")
	for _, test := range []struct {
		field ems.ComputedField
		want  string
	}{
		{ems.ComputedField{}, "a computed value needs a function of names, or an expression"},
		{ems.ComputedField{Function: "sum"}, "of: sum takes 1 to 100 names, not 0"},
		{ems.ComputedField{Function: "mean", Of: many}, "of: mean takes 1 to 100 names, not 101"},
		{ems.ComputedField{Function: "difference", Of: []string{"a"}}, "of: difference takes exactly 2 names, not 1"},
		{ems.ComputedField{Function: "difference", Of: many[:3]}, "of: difference takes exactly 2 names, not 3"},
		{ems.ComputedField{Function: "scale", Of: many[:2]}, "of: scale takes one name, not 2"},
		{ems.ComputedField{Of: many[:2]}, `function: unknown function "": use sum, difference, mean, min, max or scale`},
		{ems.ComputedField{Function: "abs", Of: many[:1]}, `function: unknown function "abs": use sum, difference, mean, min, max or scale`},
		{ems.ComputedField{Function: "Sum", Of: many[:1]}, `function: unknown function "Sum": use sum, difference, mean, min, max or scale`},
		{ems.ComputedField{Function: "scale", Of: many[:1], Factor: number(math.Inf(1))}, "factor: +Inf is not a finite number"},
		{ems.ComputedField{Function: "scale", Of: many[:1], Offset: number(math.NaN())}, "offset: NaN is not a finite number"},
		{ems.ComputedField{Function: "sum", Of: many[:1], Expression: "a"}, "expression: a computed value has either a function of names or an expression, not both"},
		{ems.ComputedField{Of: many[:1], Expression: "a"}, "expression: a computed value has either a function of names or an expression, not both"},
		{ems.ComputedField{Expression: "a+"}, "expression: byte 3: expected a number, a name, - or (, found the end"},
	} {
		test.field.Name = "x"
		_, err := test.field.Formula()
		if want := "computed x cannot be used: " + test.want; ems.CodeOf(err) != ems.CodeInvalid || err.Error() != want {
			t.Errorf("%.80v: got %v, want %s", test.field, err, want)
		}
	}
}

// judge evaluates an expression as the parser of Go understands it: another
// reading of the same grammar.
func judge(t interface{ Fatalf(string, ...any) }, node ast.Expr) float64 {
	switch node := node.(type) {
	case *ast.ParenExpr:
		return judge(t, node.X)
	case *ast.Ident:
		return given(node.Name)
	case *ast.BasicLit:
		value, err := strconv.ParseFloat(node.Value, 64)
		if err != nil {
			t.Fatalf("%s: %v", node.Value, err)
		}
		return value
	case *ast.UnaryExpr:
		return -judge(t, node.X)
	case *ast.BinaryExpr:
		left, right := judge(t, node.X), judge(t, node.Y)
		switch node.Op {
		case token.ADD:
			return left + right
		case token.SUB:
			return left - right
		case token.MUL:
			return left * right
		case token.QUO:
			return left / right
		}
	case *ast.CallExpr:
		total, least, most := 0.0, math.Inf(1), math.Inf(-1)
		for _, argument := range node.Args {
			value := judge(t, argument)
			total += value
			if math.IsNaN(value) {
				least, most = value, value
			} else if !math.IsNaN(least) {
				least, most = math.Min(least, value), math.Max(most, value)
			}
		}
		switch node.Fun.(*ast.Ident).Name {
		case "sum":
			return total
		case "mean":
			return total / float64(len(node.Args))
		case "min":
			return least
		case "max":
			return most
		case "abs":
			return math.Abs(total)
		}
	}
	t.Fatalf("%T has no place in a formula", node)
	return 0
}

// parseGo reads an expression as one of Go, where a line break would end it and
// "--" would be one word.
func parseGo(text string) (ast.Expr, error) {
	return parser.ParseExpr(strings.NewReplacer("\n", " ", "-", " - ").Replace(text))
}

func same(a, b float64) bool { return a == b || math.IsNaN(a) && math.IsNaN(b) }

func TestFormulasMeanWhatGoTakesThemFor(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := drawExpression(t, 5)
		formula, err := ems.ParseFormula(text)
		if len(text) > 500 {
			if err == nil {
				t.Fatalf("%d bytes were accepted", len(text))
			}
			return
		}
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		node, err := parseGo(text)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if got, want := formula.Eval(given), judge(t, node); !same(got, want) {
			t.Fatalf("%s = %v, want %v", text, got, want)
		}
	})
}

// drawExpression returns a sound expression, nested at most that deep.
func drawExpression(t *rapid.T, deep int) string {
	draw := func() string { return drawExpression(t, deep-1) }
	kind := rapid.IntRange(0, 9).Draw(t, "kind")
	if deep == 0 {
		kind %= 3
	}
	switch kind {
	case 0:
		return strconv.Itoa(rapid.IntRange(0, 99).Draw(t, "number"))
	case 1:
		return fmt.Sprintf("%d.%d", rapid.IntRange(0, 9).Draw(t, "whole"), rapid.IntRange(0, 999).Draw(t, "part"))
	case 2:
		return rapid.SampledFrom([]string{"a", "b", "c", "zero", "voltage_l1", "min", "_x"}).Draw(t, "name")
	case 3:
		return "(" + draw() + ")"
	case 4:
		return "- " + draw()
	case 5:
		function := rapid.SampledFrom([]string{"min", "max", "sum", "mean", "abs"}).Draw(t, "function")
		arguments := []string{draw()}
		for function != "abs" && len(arguments) < 4 && rapid.Bool().Draw(t, "more") {
			arguments = append(arguments, draw())
		}
		return function + "(" + strings.Join(arguments, ", ") + ")"
	default:
		return draw() + rapid.SampledFrom([]string{" + ", "-", "*", " / "}).Draw(t, "operator") + draw()
	}
}

func FuzzParseFormula(f *testing.F) {
	for _, text := range []string{
		"a+b*c", "-(a-b)/max(c, 0.5)", "abs(a)", "min(1,2", "1.2.3", "((((", "mean(a,b) a", "0x1", "a\x00", "\xff", "é", "sum(,)", "1..2", "--1",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		formula, err := ems.ParseFormula(text)
		if err != nil {
			if ems.CodeOf(err) != ems.CodeInvalid {
				t.Fatalf("%q: %v", text, err)
			}
			return
		}
		for _, name := range formula.Names() {
			if !strings.Contains(text, name) || strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789") != "" {
				t.Fatalf("%q: name %q", text, name)
			}
		}
		got := formula.Eval(given)
		node, err := parseGo(text)
		if err != nil {
			return // a name that is a word of Go, or a number such as 08
		}
		if want := judge(t, node); !same(got, want) {
			t.Fatalf("%q = %v, want %v", text, got, want)
		}
	})
}
