package config

import (
	"embed"
	"path"
	"path/filepath"
	"slices"

	"github.com/voltageems/voltageems-go/system/ems"
)

// libraryFiles are the templates that every site can use without a file of its
// own. One file holds one template, under the name of its id.
//
//go:embed library/*.yaml
var libraryFiles embed.FS

// Template returns the template of an id: the site's own, else that of the
// library.
func (s *Site) Template(id string) (ems.Template, bool) {
	for _, list := range [][]ems.Template{s.Templates, s.Library} {
		for i := range list {
			if list[i].ID == id {
				return list[i], true
			}
		}
	}
	return ems.Template{}, false
}

// AllTemplates returns the site's own templates and those of the library, each
// after the one that it extends.
func (s *Site) AllTemplates() []ems.Template {
	all := make([]ems.Template, 0, len(s.Templates)+len(s.Library))
	seen := map[string]bool{}
	var visit func(template ems.Template)
	visit = func(template ems.Template) {
		if seen[template.ID] {
			return
		}
		seen[template.ID] = true
		if below, found := s.Template(template.Extends); found {
			visit(below)
		}
		all = append(all, template)
	}
	for _, template := range slices.Concat(s.Templates, s.Library) {
		visit(template)
	}
	return all
}

// readTemplates reads the site's own templates and adds the library. The error is
// a fault of the library alone.
func (s *siteReader) readTemplates(site *Site) error {
	library, err := readLibrary()
	if err != nil {
		return err
	}
	files, err := filepath.Glob(s.path("templates/*.yaml"))
	if err != nil {
		s.faults.add("templates", 0, "%v", err)
		return nil
	}
	slices.Sort(files)
	if unread, err := filepath.Glob(s.path("templates/*.yml")); err == nil {
		for _, path := range unread {
			s.faults.add("templates/"+filepath.Base(path), 0, "templates are read from files that end in .yaml: rename it")
		}
	}
	own := map[string]*document{}
	for _, file := range files {
		var template ems.Template
		doc, ok := readDocument(file, "templates/"+filepath.Base(file), &template, &s.faults)
		if !ok {
			continue
		}
		if first, twice := own[template.ID]; twice {
			doc.add([]any{"id"}, "%q is already the id of %s", template.ID, first.file)
			continue
		}
		own[template.ID] = doc
		site.Templates = append(site.Templates, template)
	}
	for _, template := range library {
		if own[template.ID] == nil {
			site.Library = append(site.Library, template)
		}
	}
	s.checkTemplates(site, own)
	return nil
}

// readLibrary returns the templates of the library in the order of their ids.
func readLibrary() ([]ems.Template, error) {
	files, err := libraryFiles.ReadDir("library")
	if err != nil {
		return nil, ems.Errorf(ems.CodeInternal, "the library of templates cannot be read: %w", err)
	}
	var found faults
	library := make([]ems.Template, len(files))
	for i, file := range files {
		text, err := libraryFiles.ReadFile(path.Join("library", file.Name()))
		if err != nil {
			return nil, ems.Errorf(ems.CodeInternal, "the library of templates cannot be read: %w", err)
		}
		doc := document{file: "library/" + file.Name(), faults: &found}
		if doc.decode(text, &library[i]) && library[i].ID+".yaml" != file.Name() {
			doc.add([]any{"id"}, "%q is not the name of the file", library[i].ID)
		}
	}
	if err := found.err(); err != nil {
		return nil, ems.Errorf(ems.CodeInternal, "the library of templates cannot be used: %w", err)
	}
	return library, nil
}

// checkTemplates tells every fault of the templates once, where it is to be
// mended; own are the documents of the site's own.
func (s *siteReader) checkTemplates(site *Site, own map[string]*document) {
	found := map[string][]ems.Fault{}
	lost := map[string]bool{} // extends what is not there
	all := slices.Concat(site.Templates, site.Library)
	for _, template := range all {
		if _, known := site.Template(template.Extends); template.Extends != "" && !known {
			lost[template.ID] = true
			own[template.ID].addReference(templateFiles, []any{"extends"}, "no template %q in templates/ or in the library", template.Extends)
			continue
		}
		if faults := ems.CheckTemplate(template, site.Template); len(faults) > 0 {
			found[template.ID] = faults
		} else if err := checkStored(template); err != nil {
			found[template.ID] = []ems.Fault{{Path: []any{"id"}, Message: err.Error()}}
		}
	}
	s.unsound = map[string]bool{}
	lineage := lineage{site: site, order: map[string]int{}, faulty: func(id string) bool { return lost[id] || found[id] != nil }}
	for i, template := range all {
		lineage.order[template.ID] = i
	}
	for _, template := range all {
		follows := lineage.follows(template)
		s.unsound[template.ID] = follows || lineage.faulty(template.ID)
		if follows {
			continue
		}
		for _, fault := range found[template.ID] {
			if doc := own[template.ID]; doc != nil {
				doc.add(fault.Path, "%s", fault.Message)
				continue
			}
			replaced := lineage.nearest(template, own)
			own[replaced].add([]any{"id"}, "template %s of the library extends %s and does not fit this one: %s: give it all fields of the original, or another id", template.ID, replaced, fault)
		}
	}
}

// lineage asks what lies below templates: those that they extend.
type lineage struct {
	site   *Site
	order  map[string]int
	faulty func(id string) bool
}

// below calls visit for every template that one extends, nearest first, until
// that returns false. It ends where a circle closes.
func (l lineage) below(template ems.Template, visit func(id string) bool) {
	seen := map[string]bool{}
	for id := template.Extends; id != "" && !seen[id] && visit(id); {
		seen[id] = true
		next, _ := l.site.Template(id)
		id = next.Extends
	}
}

// follows reports whether what is wrong with a template is told elsewhere: at one
// that it extends or, of a circle, at the first of it.
func (l lineage) follows(template ems.Template) bool {
	var faulty, before, circle bool
	l.below(template, func(id string) bool {
		circle = circle || id == template.ID
		faulty = faulty || l.faulty(id)
		before = before || l.order[id] < l.order[template.ID]
		return true
	})
	return faulty && (!circle || before)
}

// nearest returns the first template below one of the library that is the
// site's own: alone, the library is sound.
func (l lineage) nearest(template ems.Template, own map[string]*document) string {
	var found string
	l.below(template, func(id string) bool {
		if own[id] != nil {
			found = id
		}
		return found == ""
	})
	return found
}
