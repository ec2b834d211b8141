// Snapwatch's rules and dashboard as a monitoring mixin: jb install this directory, which
// jb then calls deploy, and
//   (import 'deploy/mixin.libsonnet')
// All groups are under prometheusAlerts, because an alert must be evaluated after the recording
// rules that it reads: both are in one group, in this order.
{
  prometheusAlerts+:: {
    groups+: std.parseYaml(importstr 'prometheus/snapwatch.rules.yml').groups,
  },
  prometheusRules+:: { groups+: [] },
  grafanaDashboards+:: {
    'snapwatch.json': import 'grafana/snapwatch.json',
  },
}
