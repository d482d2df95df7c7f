package rtdb

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	"github.com/voltageems/voltageems-go/system/ems"
)

// UpsertTemplate stores a template under its id and expands every model anew that
// follows it. CONFLICT when one of them would no longer fit.
func (c *Client) UpsertTemplate(ctx context.Context, template ems.Template) error {
	return c.upsertJSON(ctx, "model_template_upsert", "template", template.ID, template)
}

// upsertJSON stores a thing as JSON under its id.
func (c *Client) upsertJSON(ctx context.Context, function, what, id string, thing any, preparer ...any) error {
	text, err := encode(thing)
	if err != nil {
		return about(what, id, err)
	}
	_, err = c.text(ctx, function, id, append([]any{text}, preparer...)...)
	return about(what, id, err)
}

// Template returns a template; NOT_FOUND when there is none.
func (c *Client) Template(ctx context.Context, id string) (ems.Template, error) {
	var template ems.Template
	text, err := c.text(ctx, "model_template_get", id)
	if err != nil {
		return template, err
	}
	return template, decode(text, &template)
}

// Templates returns up to count templates in the order of their ids, after the id
// named (empty for the first page): those that extend one template directly, or
// all if extends is empty.
func (c *Client) Templates(ctx context.Context, after string, count int, extends string) ([]ems.Template, error) {
	texts, err := c.texts(ctx, "model_template_list", "all", after, count, extends)
	if err != nil {
		return nil, err
	}
	return decodeAll[ems.Template](texts)
}

// DeleteTemplate removes a template; CONFLICT when something follows it.
func (c *Client) DeleteTemplate(ctx context.Context, id string) error {
	_, err := c.text(ctx, "model_template_delete", id)
	return err
}

// UpsertModel stores a model under its id and keeps the reverse map true.
func (c *Client) UpsertModel(ctx context.Context, model ems.Model) error {
	return c.upsertJSON(ctx, "model_upsert", "model", model.ID, model)
}

// Model returns a model; NOT_FOUND when there is none.
func (c *Client) Model(ctx context.Context, id string) (ems.Model, error) {
	var model ems.Model
	text, err := c.text(ctx, "model_get", id)
	if err != nil {
		return model, err
	}
	return model, decode(text, &model)
}

// ModelFilter narrows a list of models; what is zero narrows nothing.
type ModelFilter struct {
	Template string
	Channel  ems.ChannelID
}

// Models returns models in the order of their ids, after the id named (empty for
// the first page), out of the next count that there are; next is the id after
// which the next page begins, empty when this is the last. A page filtered by
// both template and channel may be short, even empty, and still have a next one.
func (c *Client) Models(ctx context.Context, after string, count int, filter ModelFilter) (models []ems.Model, next string, err error) {
	channel := ""
	if filter.Channel != 0 {
		channel = channelName(filter.Channel)
	}
	texts, err := c.texts(ctx, "model_list", "all", after, count, filter.Template, channel)
	if err != nil {
		return nil, "", err
	}
	models, err = decodeAll[ems.Model](texts[1:])
	return models, texts[0], err
}

// DeleteModel removes a model and its entries in the reverse map.
func (c *Client) DeleteModel(ctx context.Context, id string) error {
	_, err := c.text(ctx, "model_delete", id)
	return err
}

// ExpandModel returns a stored model with all that its templates say.
func (c *Client) ExpandModel(ctx context.Context, id string) (ems.Expansion, error) {
	var expansion ems.Expansion
	text, err := c.text(ctx, "model_expand", id)
	if err != nil {
		return expansion, err
	}
	return expansion, decode(text, &expansion)
}

// TryModel returns what a model would expand to, and stores nothing.
func (c *Client) TryModel(ctx context.Context, model ems.Model) (ems.Expansion, error) {
	var expansion ems.Expansion
	config, err := encode(model)
	if err != nil {
		return expansion, about("model", model.ID, err)
	}
	text, err := c.text(ctx, "model_expand", model.ID, config)
	if err != nil {
		return expansion, about("model", model.ID, err)
	}
	return expansion, decode(text, &expansion)
}

// ModelsVersion names the templates and models that there are now: it is
// different after each change of any of them. current tells that the library
// which Redis holds now has laid them out; a newer one may do so differently.
func (c *Client) ModelsVersion(ctx context.Context) (version string, current bool, err error) {
	reply, err := c.redis.MGet(ctx, c.namespace.Of("modsrv:version"), c.namespace.Of("modsrv:library")).Result()
	if err != nil {
		return "", false, c.fail("MGET", err)
	}
	library, err := c.text(ctx, "voltage_version", "all")
	if err != nil {
		return "", false, err
	}
	version, known := reply[0].(string)
	if !known {
		version = "0"
	}
	return version, reply[1] == library, nil
}

// ReplaceModels puts templates and models in the place of all that there are,
// at once; on an error nothing is changed. Templates must come after those that
// they extend. version is what ModelsVersion told before the caller looked at what
// is to be kept. It prepares beside what is in use, call by call, so that others
// never wait long. CONFLICT when somebody changed the models meanwhile, or
// prepares others: begin again with what there is then.
func (c *Client) ReplaceModels(ctx context.Context, version string, templates []ems.Template, models []ems.Model) error {
	library, err := c.text(ctx, "voltage_version", "all")
	if err != nil {
		return err
	}
	preparer := rand.Text()
	begun, err := c.text(ctx, "model_stage_begin", "all", preparer)
	if err != nil {
		return err
	}
	if begun != version {
		err = ems.Errorf(ems.CodeConflict, "the models were changed while this site was prepared: prepare it again")
	} else {
		err = c.stageModels(ctx, preparer, templates, models)
	}
	if err == nil {
		_, err = c.texts(ctx, "model_stage_commit", "all", version, preparer, library)
	}
	if err != nil {
		c.cancelStage(ctx, preparer)
	}
	return err
}

func (c *Client) stageModels(ctx context.Context, preparer string, templates []ems.Template, models []ems.Model) error {
	for _, template := range templates {
		if err := c.upsertJSON(ctx, "model_template_upsert", "template", template.ID, template, preparer); err != nil {
			return err
		}
	}
	for _, model := range models {
		if err := c.upsertJSON(ctx, "model_upsert", "model", model.ID, model, preparer); err != nil {
			return err
		}
	}
	return nil
}

// cancelStage leaves nothing of a site that was prepared in vain. What cannot be
// removed now goes with the next one that is prepared.
func (c *Client) cancelStage(ctx context.Context, preparer string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), replyTimeout)
	defer cancel()
	if _, err := c.text(ctx, "model_stage_cancel", "all", preparer); err != nil && ems.CodeOf(err) != ems.CodeConflict {
		c.logger.Warn("the staging area of the models cannot be emptied", "error", err)
	}
}

// ModelName is where a point stands in a model.
type ModelName struct {
	Model string `json:"model"`
	Name  string `json:"name"`
}

// ModelsOfPoint returns every model name that a point has. The map is kept true by
// whatever changes a model, so that looking up is a read of one field, which
// model_reverse_lookup does for others.
func (c *Client) ModelsOfPoint(ctx context.Context, ref ems.PointRef) ([]ModelName, error) {
	entries, err := c.redis.HGet(ctx, c.namespace.Reverse(ref.Channel, ref.Type), strconv.FormatUint(uint64(ref.Point), 10)).Result()
	if isNil(err) {
		return []ModelName{}, nil
	} else if err != nil {
		return nil, c.fail("HGET", err)
	}
	names := []ModelName{}
	for entry := range strings.FieldsSeq(entries) {
		model, name, _ := strings.Cut(entry, ":")
		names = append(names, ModelName{Model: model, Name: name})
	}
	return names, nil
}

// ReadModel returns every data and computed value of a model, in the order of
// their names.
func (c *Client) ReadModel(ctx context.Context, id string) ([]ems.ModelValue, error) {
	reply, err := c.lists(ctx, "model_read", id, c.now())
	if err != nil {
		return nil, err
	}
	layout, isText := reply[0].(string)
	if !isText {
		return nil, errModelRead
	}
	var values []ems.ModelValue
	groups := reply[1:]
	for len(layout) > 0 {
		var run []ems.ModelValue
		if run, layout, err = nextRun(layout); err != nil {
			return nil, err
		}
		if len(groups) == 0 {
			return nil, errModelRead
		}
		if err := fillRun(run, groups[0]); err != nil {
			return nil, err
		}
		groups, values = groups[1:], append(values, run...)
	}
	if len(groups) == 1 {
		computed, err := computedValues(groups[0])
		if err != nil {
			return nil, err
		}
		values = append(values, computed...)
	}
	slices.SortFunc(values, func(a, b ems.ModelValue) int { return strings.Compare(a.Name, b.Name) })
	return values, nil
}

//nolint:gochecknoglobals // a constant
var errModelRead = ems.Errorf(ems.CodeInternal, "model_read did not answer a layout and the values of it")

// nextRun takes the first lines off a layout that name points of the same
// channel and type.
func nextRun(layout string) (run []ems.ModelValue, rest string, err error) {
	for rest = layout; rest != ""; {
		line, after, _ := strings.Cut(rest, "\n")
		fields := strings.Fields(line)
		if len(fields) != 4 {
			return nil, "", errModelRead
		}
		ref, err := ems.ParsePointRef("comsrv:" + fields[1] + ":" + fields[2] + ":" + fields[3])
		if err != nil {
			return nil, "", err
		}
		if len(run) > 0 && (run[0].Point.Channel != ref.Channel || run[0].Point.Type != ref.Type) {
			break
		}
		run, rest = append(run, ems.ModelValue{Name: fields[0], Point: ref}), after
	}
	return run, rest, nil
}

func fillRun(run []ems.ModelValue, group any) error {
	lists, isList := group.([]any)
	if !isList {
		return errModelRead
	}
	values, err := parseValues("model_read", lists, len(run))
	if err != nil {
		return err
	}
	for i, value := range values {
		run[i].Value, run[i].Missing = value, value.Time.IsZero()
	}
	return nil
}

func computedValues(group any) ([]ems.ModelValue, error) {
	lists, isList := group.([]any)
	if !isList || len(lists) != 4 {
		return nil, errModelRead
	}
	names, isList := lists[0].([]any)
	if !isList {
		return nil, errModelRead
	}
	run := make([]ems.ModelValue, len(names))
	for i, name := range names {
		run[i].Name, _ = name.(string)
		run[i].Computed = true
	}
	return run, fillRun(run, lists[1:])
}

// WriteModel turns an action of a model into a command on the right point.
// command carries id, value, times, origin and the target that is expected; the
// one that it got is returned. UNKNOWN says that Redis may have taken it.
func (c *Client) WriteModel(ctx context.Context, model, action string, command ems.Command) (ems.PointRef, error) {
	number, err := ems.FormatNumber(command.Value)
	if err != nil {
		return ems.PointRef{}, err
	}
	text, err := c.text(ctx, "model_write", model, action, command.ID, number,
		ems.UnixMS(command.Issued), ems.UnixMS(command.Deadline), command.Origin)
	if err != nil {
		return ems.PointRef{}, sendError(command, err)
	}
	return ems.ParsePointRef(text)
}

// decodeAll reads a list of JSON texts.
func decodeAll[T any](texts []string) ([]T, error) {
	things := make([]T, len(texts))
	for i, text := range texts {
		if err := decode(text, &things[i]); err != nil {
			return nil, err
		}
	}
	return things, nil
}

func encode(value any) (string, error) {
	text, err := json.Marshal(value)
	if err != nil {
		return "", ems.Errorf(ems.CodeInvalid, "cannot be stored: %w", err)
	}
	return string(text), nil
}

func decode(text string, into any) error {
	if err := json.Unmarshal([]byte(text), into); err != nil {
		return ems.Errorf(ems.CodeInternal, "what redis holds is not what was stored: %w", err)
	}
	return nil
}
