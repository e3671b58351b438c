package kinesistest

import (
	"strconv"
	"unicode/utf8"
)

const maxTags = 50

// checkTags holds the rules for tags; total is how many there would be.
func checkTags(tags map[string]string, total int) *Error {
	if total > maxTags {
		return invalidArgument("Failed to add tags: a stream can have at most %d tags.", maxTags)
	}
	for k, v := range tags {
		if n := utf8.RuneCountInString(k); n < 1 || n > 128 {
			return invalid("tags", k, "satisfy constraint: key must have length between 1 and 128")
		}
		if utf8.RuneCountInString(v) > 256 {
			return invalid("tags", v, "satisfy constraint: value must have length less than or equal to 256")
		}
	}
	return nil
}

// addTagsInput is AddTagsToStream.
type addTagsInput struct {
	address
	Tags map[string]string
}

func (in *addTagsInput) run(r *request) (any, *Error) {
	if len(in.Tags) == 0 {
		return nil, invalid("tags", "{}", "have length greater than or equal to 1")
	}
	return in.change(r, func(st *Stream) *Error {
		total := len(st.tags)
		for k := range in.Tags {
			if _, has := st.tags[k]; !has {
				total++
			}
		}
		if err := checkTags(in.Tags, total); err != nil {
			return err
		}
		for k, v := range in.Tags {
			st.tags[k] = v
		}
		return nil
	})
}

// removeTagsInput is RemoveTagsFromStream.
type removeTagsInput struct {
	address
	TagKeys []string
}

func (in *removeTagsInput) run(r *request) (any, *Error) {
	if len(in.TagKeys) == 0 || len(in.TagKeys) > maxTags {
		return nil, invalid("tagKeys", strconv.Itoa(len(in.TagKeys)), "have length between 1 and 50")
	}
	return in.change(r, func(st *Stream) *Error {
		for _, k := range in.TagKeys {
			delete(st.tags, k)
		}
		return nil
	})
}

// listTagsInput is ListTagsForStream.
type listTagsInput struct {
	address
	ExclusiveStartTagKey string
	Limit                *int
}

type listTagsOutput struct {
	Tags        []tagJSON
	HasMoreTags bool
}

func (in *listTagsInput) run(r *request) (any, *Error) {
	limit := maxTags
	if in.Limit != nil {
		if *in.Limit < 1 || *in.Limit > maxTags {
			return nil, invalid("limit", strconv.Itoa(*in.Limit), "have value between 1 and 50")
		}
		limit = *in.Limit
	}
	st, err := in.find(r)
	if err != nil {
		return nil, err
	}
	st.mu.RLock()
	defer st.mu.RUnlock()
	out := &listTagsOutput{Tags: []tagJSON{}}
	for _, k := range st.tagKeys() {
		if k <= in.ExclusiveStartTagKey {
			continue
		}
		if len(out.Tags) == limit {
			out.HasMoreTags = true
			break
		}
		out.Tags = append(out.Tags, tagJSON{k, st.tags[k]})
	}
	return out, nil
}

// tagResourceInput is TagResource.
type tagResourceInput struct {
	ResourceARN string
	Tags        map[string]string
}

func (in *tagResourceInput) describe(_ *Server, c *Call, _ bool) {
	c.Stream = address{StreamARN: in.ResourceARN}.nameOf()
}

func (in *tagResourceInput) run(r *request) (any, *Error) {
	return (&addTagsInput{address{StreamARN: in.ResourceARN}, in.Tags}).run(r)
}

// untagResourceInput is UntagResource.
type untagResourceInput struct {
	ResourceARN string
	TagKeys     []string
}

func (in *untagResourceInput) describe(_ *Server, c *Call, _ bool) {
	c.Stream = address{StreamARN: in.ResourceARN}.nameOf()
}

func (in *untagResourceInput) run(r *request) (any, *Error) {
	return (&removeTagsInput{address{StreamARN: in.ResourceARN}, in.TagKeys}).run(r)
}

// listResourceTagsInput is ListTagsForResource.
type listResourceTagsInput struct{ ResourceARN string }

type listResourceTagsOutput struct{ Tags []tagJSON }

func (in *listResourceTagsInput) describe(_ *Server, c *Call, _ bool) {
	c.Stream = address{StreamARN: in.ResourceARN}.nameOf()
}

func (in *listResourceTagsInput) run(r *request) (any, *Error) {
	st, err := address{StreamARN: in.ResourceARN}.find(r)
	if err != nil {
		return nil, err
	}
	st.mu.RLock()
	defer st.mu.RUnlock()
	out := &listResourceTagsOutput{Tags: []tagJSON{}}
	for _, k := range st.tagKeys() {
		out.Tags = append(out.Tags, tagJSON{k, st.tags[k]})
	}
	return out, nil
}
