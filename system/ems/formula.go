package ems

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Bounds of a formula.
const (
	maxExpressionBytes = 500
	maxFormulaDepth    = 32 // parentheses and signs within one another
	maxFunctionNames   = 100
)

// scaleFunction is the one function that takes more than names.
const scaleFunction = "scale"

// Formula is a compiled computed value. It may be used by many at once.
type Formula struct {
	root  formulaNode
	names []string
}

type formulaNode func(value func(name string) float64) float64

// Names returns the inputs, each once, in the order of their first appearance.
func (f Formula) Names() []string { return f.names }

// Eval returns the result for the numbers that value returns by name. It is not
// finite where there is none: above all after a division by 0.
func (f Formula) Eval(value func(name string) float64) float64 { return f.root(value) }

// ParseFormula compiles an expression: decimal numbers (12, 0.5), names, + - * /
// with the usual precedence, a minus sign, parentheses, and the functions min,
// max, sum, mean (one or more arguments) and abs (one). A name directly before
// "(" is a function, elsewhere an input. The error is INVALID and says at which
// byte, counted from 1, what was expected.
func ParseFormula(text string) (Formula, error) {
	if len(text) > maxExpressionBytes {
		return Formula{}, Errorf(CodeInvalid, "%d bytes are more than the %d that fit: split it into several computed values", len(text), maxExpressionBytes)
	}
	parser := formulaParser{text: text}
	root, err := parser.expression()
	if err == nil && parser.next() != 0 {
		err = parser.expected("+, -, *, / or the end")
	}
	if err != nil {
		return Formula{}, err
	}
	return Formula{root: root, names: parser.names}, nil
}

type formulaParser struct {
	text  string
	at    int // the byte to be read next
	depth int
	names []string
}

// next skips white space and returns the byte behind it, 0 at the end.
func (p *formulaParser) next() byte {
	for p.at < len(p.text) && strings.IndexByte(" \t\n", p.text[p.at]) >= 0 {
		p.at++
	}
	if p.at == len(p.text) {
		return 0
	}
	if p.text[p.at] == 0 { // no byte of the grammar either
		return 0xff
	}
	return p.text[p.at]
}

func (p *formulaParser) expected(what string) error {
	found := "the end"
	if p.next() != 0 {
		for _, r := range p.text[p.at:] {
			found = strconv.QuoteRune(r)
			break
		}
	}
	return Errorf(CodeInvalid, "byte %d: expected %s, found %s", p.at+1, what, found)
}

func (p *formulaParser) enter() error {
	p.depth++
	if p.depth > maxFormulaDepth {
		return Errorf(CodeInvalid, "byte %d: more than %d parentheses or signs within one another", p.at+1, maxFormulaDepth)
	}
	return nil
}

func (p *formulaParser) expression() (formulaNode, error) {
	return p.leftToRight("+-", func() (formulaNode, error) { return p.leftToRight("*/", p.operand) })
}

func (p *formulaParser) leftToRight(operators string, part func() (formulaNode, error)) (formulaNode, error) {
	node, err := part()
	for err == nil {
		operator := p.next()
		if operator == 0 || strings.IndexByte(operators, operator) < 0 {
			return node, nil
		}
		p.at++
		var right formulaNode
		if right, err = part(); err == nil {
			node = applied(operator, node, right)
		}
	}
	return nil, err
}

// applied rounds every product before it is used again, as everywhere else in
// the system: no processor may fuse it with a sum.
func applied(operator byte, left, right formulaNode) formulaNode {
	switch operator {
	case '+':
		return func(value func(string) float64) float64 { return left(value) + right(value) }
	case '-':
		return func(value func(string) float64) float64 { return left(value) - right(value) }
	case '*':
		return func(value func(string) float64) float64 { return float64(left(value) * right(value)) }
	default:
		return func(value func(string) float64) float64 { return left(value) / right(value) }
	}
}

func (p *formulaParser) operand() (formulaNode, error) {
	switch c := p.next(); {
	case c >= '0' && c <= '9':
		return p.number()
	case c == '(':
		return p.nested()
	case c == '-':
		if err := p.enter(); err != nil {
			return nil, err
		}
		p.at++
		node, err := p.operand()
		p.depth--
		return func(value func(string) float64) float64 { return -node(value) }, err
	case nameByte(c, 0):
		start := p.at
		for p.at < len(p.text) && nameByte(p.text[p.at], p.at-start) {
			p.at++
		}
		name := p.text[start:p.at]
		if p.next() == '(' {
			return p.call(name, start)
		}
		if !slices.Contains(p.names, name) {
			p.names = append(p.names, name)
		}
		return named(name), nil
	default:
		return nil, p.expected("a number, a name, - or (")
	}
}

// nameByte reports whether c may stand at that index of a name.
func nameByte(c byte, index int) bool {
	return c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || index > 0 && c >= '0' && c <= '9'
}

func named(name string) formulaNode {
	return func(value func(string) float64) float64 { return value(name) }
}

func (p *formulaParser) number() (formulaNode, error) {
	start := p.at
	point := false
	for p.at < len(p.text) {
		c := p.text[p.at]
		if c == '.' && !point {
			point = true
		} else if c < '0' || c > '9' {
			break
		}
		p.at++
	}
	number, err := strconv.ParseFloat(p.text[start:p.at], 64)
	if err != nil {
		return nil, Errorf(CodeInvalid, "byte %d: this number is larger than any that can be computed with", start+1)
	}
	return func(func(string) float64) float64 { return number }, nil
}

// nested reads an expression in parentheses, of which the first stands next.
func (p *formulaParser) nested() (formulaNode, error) {
	if err := p.enter(); err != nil {
		return nil, err
	}
	p.at++
	node, err := p.expression()
	if err != nil {
		return nil, err
	}
	if p.next() != ')' {
		return nil, p.expected("+, -, *, / or )")
	}
	p.at++
	p.depth--
	return node, nil
}

// call reads the arguments of a function, whose name began at start.
func (p *formulaParser) call(name string, start int) (formulaNode, error) {
	fold, known := foldOf(name)
	if !known {
		return nil, Errorf(CodeInvalid, "byte %d: expected one of the functions min, max, sum, mean and abs, found %q", start+1, name)
	}
	if err := p.enter(); err != nil {
		return nil, err
	}
	var arguments []formulaNode
	for more := true; more; {
		p.at++ // "(" or ","
		argument, err := p.expression()
		if err != nil {
			return nil, err
		}
		arguments = append(arguments, argument)
		more = p.next() == ','
		if more && name == "abs" {
			return nil, p.expected("), because abs takes one argument")
		}
	}
	if p.next() != ')' {
		return nil, p.expected("+, -, *, /, a comma or )")
	}
	p.at++
	p.depth--
	return folded(fold, arguments), nil
}

// foldOf returns what a function makes of its arguments, of which there is at
// least one. What is not a number makes the result none.
func foldOf(name string) (fold func(numbers []float64) float64, known bool) {
	switch name {
	case "sum":
		return sumOf, true
	case "mean":
		return func(numbers []float64) float64 { return sumOf(numbers) / float64(len(numbers)) }, true
	case "min":
		return slices.Min[[]float64], true
	case "max":
		return slices.Max[[]float64], true
	case "abs":
		return func(numbers []float64) float64 { return math.Abs(numbers[0]) }, true
	default:
		return nil, false
	}
}

func sumOf(numbers []float64) float64 {
	total := 0.0
	for _, number := range numbers {
		total += number
	}
	return total
}

func folded(fold func([]float64) float64, arguments []formulaNode) formulaNode {
	return func(value func(string) float64) float64 {
		numbers := make([]float64, len(arguments))
		for i, argument := range arguments {
			numbers[i] = argument(value)
		}
		return fold(numbers)
	}
}

// Formula compiles a computed value in either of its two forms.
func (c ComputedField) Formula() (Formula, error) {
	formula, fault := c.compile()
	if fault != nil {
		return Formula{}, Refuse("computed "+c.Name, []Fault{*fault})
	}
	return formula, nil
}

// compile returns the formula, or what is wrong with it and at which key.
func (c ComputedField) compile() (Formula, *Fault) {
	refuse := func(key, format string, args ...any) (Formula, *Fault) {
		return Formula{}, &Fault{Path: []any{key}, Message: fmt.Sprintf(format, args...)}
	}
	switch {
	case c.Expression != "" && (c.Function != "" || len(c.Of) > 0):
		return refuse("expression", "a computed value has either a function of names or an expression, not both")
	case c.Expression != "" && (c.Factor != nil || c.Offset != nil):
		return c.misplaced()
	case c.Expression != "":
		formula, err := ParseFormula(c.Expression)
		if err != nil {
			return refuse("expression", "%v", err)
		}
		return formula, nil
	case c.Function == "" && len(c.Of) == 0:
		return Formula{}, &Fault{Message: "a computed value needs a function of names, or an expression"}
	}
	least, most := 1, maxFunctionNames
	fold, known := foldOf(c.Function)
	switch c.Function {
	case "difference":
		least, most, known = 2, 2, true
	case scaleFunction:
		most, known = 1, true
	case "abs":
		known = false
	}
	switch {
	case !known:
		return refuse("function", "unknown function %q: use sum, difference, mean, min, max or scale", c.Function)
	case len(c.Of) < least || len(c.Of) > most:
		return refuse("of", "%s takes %s, not %d", c.Function, countText(least, most), len(c.Of))
	case c.Function != scaleFunction && (c.Factor != nil || c.Offset != nil):
		return c.misplaced()
	case c.Factor != nil && !finite(*c.Factor):
		return refuse("factor", "%v is not a finite number", *c.Factor)
	case c.Offset != nil && !finite(*c.Offset):
		return refuse("offset", "%v is not a finite number", *c.Offset)
	}
	return Formula{root: c.function(fold), names: unique(c.Of)}, nil
}

// misplaced tells of a key that only scale has a use for.
func (c ComputedField) misplaced() (Formula, *Fault) {
	key, article := "factor", "a"
	if c.Factor == nil {
		key, article = "offset", "an"
	}
	return Formula{}, &Fault{Path: []any{key}, Message: "only the function scale takes " + article + " " + key}
}

// function builds the formula of a function whose names have been counted.
func (c ComputedField) function(fold func([]float64) float64) formulaNode {
	nodes := make([]formulaNode, len(c.Of))
	for i, name := range c.Of {
		nodes[i] = named(name)
	}
	switch c.Function {
	case "difference":
		return applied('-', nodes[0], nodes[1])
	case scaleFunction:
		factor, offset := 1.0, 0.0
		if c.Factor != nil {
			factor = *c.Factor
		}
		if c.Offset != nil {
			offset = *c.Offset
		}
		return func(value func(string) float64) float64 { return float64(nodes[0](value)*factor) + offset }
	default:
		return folded(fold, nodes)
	}
}

func countText(least, most int) string {
	switch {
	case most == 1:
		return "one name"
	case least == most:
		return fmt.Sprintf("exactly %d names", most)
	default:
		return fmt.Sprintf("%d to %d names", least, most)
	}
}

func finite(number float64) bool { return !math.IsNaN(number) && !math.IsInf(number, 0) }

func unique(names []string) []string {
	var once []string
	for _, name := range names {
		if !slices.Contains(once, name) {
			once = append(once, name)
		}
	}
	return once
}
