// Snapwatch's rules and dashboard as a monitoring mixin: jb install this directory, and
//   (import 'snapwatch/deploy/mixin.libsonnet')
// The alerts stand behind the recording rules they read, in one group, so that both are
// evaluated in their order: all groups are under prometheusAlerts.
{
  prometheusAlerts+:: {
    groups+: std.parseYaml(importstr 'prometheus/snapwatch.rules.yml').groups,
  },
  prometheusRules+:: { groups+: [] },
  grafanaDashboards+:: {
    'snapwatch.json': import 'grafana/snapwatch.json',
  },
}
