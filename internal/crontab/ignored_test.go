package crontab

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestIgnored(t *testing.T) {
	for text, want := range map[string]string{
		"": "",
		"# a remark\n\nMAILTO=ops\n \"A B\" = c\n*/15 * * * * root x\n": "",
		"0,30 1-5/2 1 jan-Mar 0,7\troot x\n@Daily root x\n":             "",
		"-*/5 * * * Mon root x\n":                                       "",
		"5~10 * * * * root x\n":                                         "",
		"* * * * * root x":                                              "its last line does not end with a newline",
		"MAILTO ops\n* * * * * root x\n":                                "cron does not understand its line 1: MAILTO is not a valid minute",
		"* * * * * root x\n60 * * * * root x\n":                         "cron does not understand its line 2: 60 is not a valid minute",
		"* 24 * * * root x\n":                                           "cron does not understand its line 1: 24 is not a valid hour",
		"* * 0 * * root x\n":                                            "cron does not understand its line 1: 0 is not a valid day of the month",
		"* * * 1-13 * root x\n":                                         "cron does not understand its line 1: 1-13 is not a valid month",
		"* * * * 1,day root x\n":                                        "cron does not understand its line 1: 1,day is not a valid day of the week",
		"* * * *\n":                                                     "cron does not understand its line 1: the field for the day of the week is missing",
		"*/15 * * * * /usr/bin/x\n":                                     "cron does not understand its line 1: no user is named before the command",
		"0 30 8 * * * root x\n":                                         "cron does not understand its line 1: 30 is not a valid hour",
		"0 3 8 * * * root x\n":                                          "cron does not understand its line 1: no user is named before the command",
		"@daily\n":                                                      "cron does not understand its line 1: no user is named before the command",
		"@often root x\n":                                               "cron does not understand its line 1: @often is not a time",
	} {
		assert.Equal(t, want, Ignored(text, true), text)
	}
	assert.Empty(t, Ignored("*/15 * * * * /usr/bin/x\n", false))
	assert.Equal(t, "cron does not understand its line 1: no command", Ignored("@daily\n", false))
}
