// Package browser tests the status page in a real Chromium, over the real exporter.
package browser
