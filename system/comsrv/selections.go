package comsrv

import (
	"crypto/rand"
	"maps"
	"sync"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/httpserver"
)

// selections are the points that somebody is about to operate. They are kept
// here alone: after a restart nothing is selected, which is the safe side.
type selections struct {
	mu        sync.Mutex
	points    map[ems.PointRef]selection
	permitted map[commandKey]struct{} // commands that named the selection of their point
}

type selection struct {
	Token string    `json:"token"`
	By    string    `json:"by"`
	Until time.Time `json:"until"`
}

func newSelections() *selections {
	return &selections{points: map[ems.PointRef]selection{}, permitted: map[commandKey]struct{}{}}
}

// add selects a point, unless somebody has.
func (s *selections) add(point ems.PointRef, by string, now time.Time, timeout time.Duration) (selection, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if held, found := s.points[point]; found && !now.After(held.Until) {
		return selection{}, ems.Errorf(ems.CodeConflict, "%s is selected by %s until %s", point, held.By, held.Until.UTC().Format(time.RFC3339))
	}
	made := selection{Token: rand.Text(), By: by, Until: now.Add(timeout)}
	s.points[point] = made
	return made, nil
}

// cancel ends a selection.
func (s *selections) cancel(point ems.PointRef, token string, now time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.check(point, token, now); err != nil {
		return err
	}
	delete(s.points, point)
	return nil
}

// use ends a selection and permits one command in its place, until forget.
func (s *selections) use(point ems.PointRef, token, command string, now time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.check(point, token, now); err != nil {
		return err
	}
	delete(s.points, point)
	s.permitted[commandKey{point.Channel, command}] = struct{}{}
	return nil
}

func (s *selections) check(point ems.PointRef, token string, now time.Time) error {
	held, found := s.points[point]
	switch {
	case token == "":
		return ems.Errorf(ems.CodeConflict, "%s must be selected first: POST …/select, and name its token as selection", point)
	case !found || now.After(held.Until):
		return ems.Errorf(ems.CodeConflict, "%s is not selected, or not any more: select it again", point)
	case held.Token != token:
		return ems.Errorf(ems.CodeConflict, "%s is selected by %s, with another token", point, held.By)
	default:
		return nil
	}
}

func (s *selections) forget(command ems.Command) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.permitted, commandKey{command.Target.Channel, command.ID})
}

// leave ends all selections of a channel: its points may be others from now on.
func (s *selections) leave(channel ems.ChannelID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.DeleteFunc(s.points, func(point ems.PointRef, _ selection) bool { return point.Channel == channel })
}

// permit refuses a command for a point that must be selected, unless it named the
// selection. A safe value needs none.
func (s *selections) permit(command ems.Command) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, permitted := s.permitted[commandKey{command.Target.Channel, command.ID}]; permitted || holdOf(command) != nil {
		return nil
	}
	return ems.Errorf(ems.CodeConflict, "%s must be selected first, over HTTP: POST …/select", command.Target)
}

// selectPoint begins what writePoint ends.
func (s *Service) selectPoint(c echo.Context) error {
	channel, index, err := s.point(c)
	if err != nil {
		return err
	}
	var request struct {
		By string `json:"by"`
	}
	if err := httpserver.Body(c, &request); err != nil {
		return err
	}
	if request.By == "" {
		return ems.Errorf(ems.CodeInvalid, `the body does not say who selects: send {"by": "Ann"}`)
	}
	if err := checkBy(request.By); err != nil {
		return err
	}
	point := &channel.Points[index]
	if point.SelectTimeout == 0 {
		return ems.Errorf(ems.CodeConflict, "%s need not be selected: its select_timeout is empty", point.Name)
	}
	ref := ems.PointRef{Channel: channel.ID, Type: point.Type, Point: point.ID}
	made, err := s.commands.selections.add(ref, request.By, s.clock.Now(), point.SelectTimeout)
	if err != nil {
		return err
	}
	s.logger.Info("point selected", "target", ref.String(), "by", made.By, "until", made.Until)
	return httpserver.OK(c, made)
}

func (s *Service) cancelSelection(c echo.Context) error {
	channel, index, err := s.point(c)
	if err != nil {
		return err
	}
	point := &channel.Points[index]
	ref := ems.PointRef{Channel: channel.ID, Type: point.Type, Point: point.ID}
	if err := s.commands.selections.cancel(ref, c.Param("token"), s.clock.Now()); err != nil {
		return err
	}
	s.logger.Info("selection cancelled", "target", ref.String())
	return httpserver.OK(c, nil)
}
