package comsrv

import (
	"context"

	"github.com/voltageems/voltageems-go/system/config"
	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/rtdb"
)

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
// that they name: those models would not fit the site any more.
func (s *Service) checkModels(ctx context.Context, next *wanted, id ems.ChannelID) error {
	before := s.wanted.made[id].channel
	if before == nil {
		return nil
	}
	var after []config.MappedPoint
	if one := next.made[id].channel; one != nil {
		after = one.Points
	} else {
		models, _, err := s.db.Models(ctx, "", 1, rtdb.ModelFilter{Channel: id})
		if err != nil {
			return err
		}
		if len(models) > 0 {
			return ems.Errorf(ems.CodeConflict, "model %s names channel %d: change or remove the model first", models[0].ID, id)
		}
	}
	for kind, points := range lost(before.Points, after) {
		for _, point := range points {
			ref := ems.PointRef{Channel: id, Type: kind, Point: point}
			names, err := s.db.ModelsOfPoint(ctx, ref)
			if err != nil {
				return err
			}
			if len(names) > 0 {
				return ems.Errorf(ems.CodeConflict, "model %s names %s: change or remove the model first", names[0].Model, ref)
			}
		}
	}
	return nil
}
