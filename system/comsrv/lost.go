package comsrv

import (
	"context"

	"github.com/voltageems/voltageems-go/system/config"
	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/rtdb"
)

// modelsAtOnce bounds the models that are asked for at once.
const modelsAtOnce = 100

// lost returns the points that one table has and another lacks, by type. A text is no
// value in Redis: of a number that becomes one nothing is to stay there.
func lost(before, after []config.MappedPoint) map[ems.PointType][]ems.PointID {
	texts := map[ems.PointRef]bool{} // of the points that stay: whether one is a text
	for i := range after {
		texts[ems.PointRef{Type: after[i].Type, Point: after[i].ID}] = after[i].Mapping.IsText()
	}
	missing := map[ems.PointType][]ems.PointID{}
	for i := range before {
		point := &before[i]
		if isText, stays := texts[ems.PointRef{Type: point.Type, Point: point.ID}]; !stays || isText && !point.Mapping.IsText() {
			missing[point.Type] = append(missing[point.Type], point.ID)
		}
	}
	return missing
}

// checkModels refuses to take points away that models name, or a whole channel
// that they name: those models would not fit the site any more. Of a channel of the
// site folder only models made through the API count: the folder has the others.
func (s *Service) checkModels(ctx context.Context, next *wanted) error {
	after := map[ems.ChannelID][]config.MappedPoint{}
	for _, entry := range next.entries() {
		after[entry.ID] = entry.Points
	}
	for _, before := range s.wanted.entries() {
		points, stays := after[before.ID]
		if !stays {
			if err := s.checkModelsOf(ctx, &before); err != nil {
				return err
			}
		}
		for kind, ids := range lost(before.Points, points) {
			for _, id := range ids {
				if err := s.checkModelsAt(ctx, &before, ems.PointRef{Channel: before.ID, Type: kind, Point: id}); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// holds reports whether a model keeps the points of a channel from being taken away.
func (e *entry) holds(model string) bool { return e.made || ems.MadeByAPI(model) }

func (s *Service) checkModelsOf(ctx context.Context, channel *entry) error {
	for after := ""; ; {
		models, next, err := s.db.Models(ctx, after, modelsAtOnce, rtdb.ModelFilter{Channel: channel.ID})
		if err != nil {
			return err
		}
		for i := range models {
			if channel.holds(models[i].ID) {
				return ems.Errorf(ems.CodeConflict, "model %s names channel %d: change or remove the model first", models[i].ID, channel.ID)
			}
		}
		if after = next; after == "" {
			return nil
		}
	}
}

func (s *Service) checkModelsAt(ctx context.Context, channel *entry, ref ems.PointRef) error {
	names, err := s.db.ModelsOfPoint(ctx, ref)
	if err != nil {
		return err
	}
	for _, name := range names {
		if channel.holds(name.Model) {
			return ems.Errorf(ems.CodeConflict, "model %s names %s: change or remove the model first", name.Model, ref)
		}
	}
	return nil
}
