package rtdb

import (
	"context"
	"encoding/json"
	"strconv"

	"github.com/voltageems/voltageems-go/system/ems"
)

// UpsertTemplate stores a template under its id.
func (c *Client) UpsertTemplate(ctx context.Context, template ems.Template) error {
	text, err := encode(template)
	if err != nil {
		return about("template", template.ID, err)
	}
	_, err = c.text(ctx, "model_template_upsert", template.ID, text)
	return about("template", template.ID, err)
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

// UpsertModel stores a model under its id and keeps the reverse map true.
func (c *Client) UpsertModel(ctx context.Context, model ems.Model) error {
	text, err := encode(model)
	if err != nil {
		return about("model", model.ID, err)
	}
	_, err = c.text(ctx, "model_upsert", model.ID, text)
	return about("model", model.ID, err)
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

// Models returns up to count models in the order of their ids, after the id
// named (empty for the first page).
func (c *Client) Models(ctx context.Context, after string, count int) ([]ems.Model, error) {
	texts, err := c.texts(ctx, "model_list", "all", after, count)
	if err != nil {
		return nil, err
	}
	models := make([]ems.Model, len(texts))
	for i, text := range texts {
		if err := decode(text, &models[i]); err != nil {
			return nil, err
		}
	}
	return models, nil
}

// DeleteModel removes a model and its entries in the reverse map.
func (c *Client) DeleteModel(ctx context.Context, id string) error {
	_, err := c.text(ctx, "model_delete", id)
	return err
}

// ModelName is where a point stands in a model.
type ModelName struct {
	Model string `json:"model"`
	Name  string `json:"name"`
}

// ModelsOfPoint returns every model name that a point has.
func (c *Client) ModelsOfPoint(ctx context.Context, ref ems.PointRef) ([]ModelName, error) {
	texts, err := c.texts(ctx, "model_reverse_lookup", channelName(ref.Channel), ref.Type.String(), strconv.FormatUint(uint64(ref.Point), 10))
	if err != nil {
		return nil, err
	}
	names := make([]ModelName, 0, len(texts)/2)
	for i := 0; i+1 < len(texts); i += 2 {
		names = append(names, ModelName{Model: texts[i], Name: texts[i+1]})
	}
	return names, nil
}

// ReadModel returns every data value of a model, by name.
func (c *Client) ReadModel(ctx context.Context, id string) ([]ems.ModelValue, error) {
	texts, err := c.texts(ctx, "model_read", id, c.now())
	if err != nil {
		return nil, err
	}
	if len(texts)%5 != 0 {
		return nil, ems.Errorf(ems.CodeInternal, "model_read answered %d texts, which is no multiple of 5", len(texts))
	}
	values := make([]ems.ModelValue, 0, len(texts)/5)
	for i := 0; i < len(texts); i += 5 {
		ref, err := ems.ParsePointRef(texts[i+1])
		if err != nil {
			return nil, err
		}
		value, err := parseValue(texts[i+2 : i+5])
		if err != nil {
			return nil, err
		}
		values = append(values, ems.ModelValue{Name: texts[i], Point: ref, Value: value, Missing: texts[i+2] == ""})
	}
	return values, nil
}

// WriteModel turns an action of a model into a command on the right point.
// command carries id, value, times and origin; its target is filled in and
// returned.
func (c *Client) WriteModel(ctx context.Context, model, action string, command ems.Command) (ems.PointRef, error) {
	number, err := ems.FormatNumber(command.Value)
	if err != nil {
		return ems.PointRef{}, err
	}
	text, err := c.text(ctx, "model_write", model, action, command.ID, number,
		ems.UnixMS(command.Issued), ems.UnixMS(command.Deadline), command.Origin)
	if err != nil {
		return ems.PointRef{}, err
	}
	return ems.ParsePointRef(text)
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
