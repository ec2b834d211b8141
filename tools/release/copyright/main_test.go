package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// licenceOf returns an error for an unknown licence. For an unknown licence, licenceOf must not
// return the name of a similar licence.
func TestLicences(t *testing.T) {
	for text, want := range map[string]string{
		"Apache License\n Version 2.0, January 2004":                                         "Apache-2.0",
		"MIT License\n\nPermission is hereby\ngranted, free of charge, to any person":        "Expat",
		"Redistribution and use in source and\n binary forms\n * Neither the name of Google": "BSD-3-clause",
		"Redistribution and use in source and binary forms":                                  "BSD-2-clause",
		"Some under Apache License, some: Permission is hereby granted, free of charge":      "Apache-2.0 and Expat",
		"GNU GENERAL PUBLIC LICENSE\nVersion 3":                                              "",
		"the terms of the GNU General Public License as published":                           "",
		"GNU LESSER GENERAL PUBLIC LICENSE; Apache License":                                  "",
		"Mozilla Public License Version 2.0":                                                 "",
		"All rights reserved":                                                                "",
	} {
		got, err := licenceOf(text)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v; want %q", text, got, err, want)
		}
	}
}

// The stanza of a module in the copyright file names the copyright holders and keeps the module's
// notices. For a module without a licence, stanza returns an error.
func TestStanza(t *testing.T) {
	dir := t.TempDir()
	if _, err := stanza("example.org/m", dir); err == nil {
		t.Error("a module without a licence is accepted")
	}
	for name, text := range map[string]string{
		"LICENSE": "Copyright (c) 2018 Ada L.\n\nPermission is hereby granted, free of charge\n",
		"NOTICE":  "Copyright 2020 Second\nThis product includes others'.\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got, err := stanza("example.org/m", dir)
	want := `
Files: example.org/m/*
Copyright: 2018 Ada L.
 2020 Second
License: Expat
 Copyright (c) 2018 Ada L.
 .
 Permission is hereby granted, free of charge
 Copyright 2020 Second
 This product includes others'.
`
	if err != nil || strings.TrimSpace(got) != strings.TrimSpace(want) {
		t.Errorf("%v\n%s", err, got)
	}
}
