package config

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Keep is a retention: the number of snapshots to keep of each class. If a class is not in the map,
// its snapshots are never destroyed. If a class has the number 0, none of its snapshots is kept. A
// nil Keep means that no retention was given.
type Keep map[string]int

// keepLetters has, by letter, the class that the letter means in a retention word.
var keepLetters = []struct {
	Letter byte
	Class  string
}{
	{'f', "frequently"}, {'h', "hourly"}, {'d', "daily"},
	{'w', "weekly"}, {'m', "monthly"}, {'y', "yearly"},
}

// ParseKeep parses retention words such as f48 h24 d30. ParseKeep returns an error for an empty
// list, an unknown letter, a missing or negative number, and a letter that occurs twice. ParseKeep
// is strict, because a typing mistake could destroy snapshots.
func ParseKeep(words []string) (Keep, error) {
	if len(words) == 0 {
		return nil, errors.New("no retention given; say what to keep, for example: f48 h24 d30")
	}
	keep := Keep{}
	for _, word := range words {
		class, n, err := parseKeepWord(word)
		if err != nil {
			return nil, err
		}
		if _, twice := keep[class]; twice {
			return nil, fmt.Errorf("retention %q: %s is given twice", word, class)
		}
		keep[class] = n
	}
	return keep, nil
}

// IsKeepWord reports whether a word has the form of a retention word such as h24. IsKeepWord does
// not check that the word is valid.
func IsKeepWord(word string) bool {
	if len(word) < 2 || !strings.ContainsRune("fhdwmy", rune(word[0])) {
		return false
	}
	return word[1] >= '0' && word[1] <= '9'
}

func parseKeepWord(word string) (class string, n int, err error) {
	const want = "write a letter of f h d w m y and a number, for example f48"
	if word == "" {
		return "", 0, fmt.Errorf("an empty retention word; %s", want)
	}
	for _, k := range keepLetters {
		if k.Letter == word[0] {
			class = k.Class
		}
	}
	if class == "" {
		return "", 0, fmt.Errorf("retention %q: unknown letter %q; %s", word, word[:1], want)
	}
	for _, digit := range word[1:] {
		if digit < '0' || digit > '9' {
			return "", 0, fmt.Errorf("retention %q: %q is not a number; %s", word, word[1:], want)
		}
	}
	n, err = strconv.Atoi(word[1:])
	if err != nil {
		return "", 0, fmt.Errorf("retention %q: no usable number after the letter; %s", word, want)
	}
	const maxKept = 10_000_000
	if n > maxKept {
		return "", 0, fmt.Errorf("retention %q: more than %d snapshots", word, maxKept)
	}
	return class, n, nil
}

// UnmarshalText implements [encoding.TextUnmarshaler].
func (k *Keep) UnmarshalText(text []byte) (err error) {
	*k, err = ParseKeep(strings.Fields(string(text)))
	return err
}

// MarshalText implements [encoding.TextMarshaler].
func (k Keep) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// String returns the retention as words, in the order of the classes.
func (k Keep) String() string {
	var words []string
	for _, l := range keepLetters {
		if n, ok := k[l.Class]; ok {
			words = append(words, string(l.Letter)+strconv.Itoa(n))
		}
	}
	return strings.Join(words, " ")
}
