package config

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestParseKeep(t *testing.T) {
	for _, test := range []struct {
		words []string
		want  string
	}{
		{[]string{"f48", "h24", "d30", "w8", "m12", "y3"}, "f48 h24 d30 w8 m12 y3"},
		{[]string{"y1", "f0"}, "f0 y1"},
		{[]string{"f0100"}, "f100"},
		{[]string{"h10000000"}, "h10000000"},
	} {
		keep, err := ParseKeep(test.words)
		require.NoError(t, err)
		assert.Equal(t, test.want, keep.String())
	}
}

func TestParseKeepRefuses(t *testing.T) {
	for _, test := range []struct {
		words []string
		want  string
	}{
		{nil, "no retention given; say what to keep, for example: f48 h24 d30"},
		{[]string{""}, "an empty retention word; write a letter of f h d w m y and a number, for example f48"},
		{[]string{"f48", ""}, "an empty retention word"},
		{[]string{"f"}, `retention "f": no usable number after the letter`},
		{[]string{"f-1"}, `retention "f-1": "-1" is not a number`},
		{[]string{"f+1"}, `retention "f+1": "+1" is not a number`},
		{[]string{"f1.5"}, `retention "f1.5": "1.5" is not a number`},
		{[]string{"f 1"}, `retention "f 1": " 1" is not a number`},
		{[]string{"f1h"}, `retention "f1h": "1h" is not a number`},
		{[]string{"f١"}, `is not a number`},
		{[]string{"x3"}, `retention "x3": unknown letter "x"`},
		{[]string{"F3"}, `retention "F3": unknown letter "F"`},
		{[]string{"3"}, `retention "3": unknown letter "3"`},
		{[]string{"-f3"}, `retention "-f3": unknown letter "-"`},
		{[]string{"s3"}, `retention "s3": unknown letter "s"`},
		{[]string{"f48", "f96"}, `retention "f96": frequently is given twice`},
		{[]string{"f48", "h1", "f48"}, `retention "f48": frequently is given twice`},
		{[]string{"f10000001"}, `retention "f10000001": more than 10000000 snapshots`},
		{[]string{"f99999999999999999999"}, `retention "f99999999999999999999": no usable number after the letter`},
	} {
		keep, err := ParseKeep(test.words)
		assert.ErrorContains(t, err, test.want, "%q", test.words)
		assert.Nil(t, keep)
	}
}

func TestIsKeepWord(t *testing.T) {
	for word, want := range map[string]bool{
		"f48": true, "h0": true, "d1x": true, "y99999999999999999999": true,
		"f": false, "": false, "f-1": false, "x3": false, "snap": false, "fx": false, "--f48": false, "F48": false,
	} {
		assert.Equal(t, want, IsKeepWord(word), word)
	}
}
