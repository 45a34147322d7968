#!/bin/sh
# Makes the namespace, or sets for how long it keeps runs that have ended. Ends when the node that was asked knows it.
set -eu
until temporal operator cluster health; do sleep 2; done
temporal operator namespace describe --namespace "$NAMESPACE" ||
  temporal operator namespace create --namespace "$NAMESPACE" --retention "$RETENTION"
tries=1
until temporal operator namespace update --namespace "$NAMESPACE" --retention "$RETENTION"; do
  [ "$tries" -lt 30 ] || exit 1 # a node learns of a new namespace after some seconds
  tries=$((tries + 1))
  sleep 2
done
