#!/bin/sh
# Adds Apache Spark to the private environment from requirements-spark.lock, whose every file is
# verified by its hash. Without Java 17 or newer it says how to get it, and adds nothing.
set -eu
cd "$(dirname "$0")/.."

java=java
[ -z "${JAVA_HOME:-}" ] || java=$JAVA_HOME/bin/java
version=$("$java" -version 2>&1 | sed -n 's/.*version "\([0-9]*\).*/\1/p' || true)
if [ "${version:-0}" -lt 17 ]; then
    echo "No Java 17 or newer: everything that needs Apache Spark is left out. To have it, install"
    echo "Java, on Debian and Ubuntu with: sudo apt-get install openjdk-17-jre-headless"
    exit 0
fi

ready=.venv/.ready-spark
if [ -n "$(find $ready -newer requirements-spark.lock -newer .venv/.ready 2>/dev/null)" ]; then
    exit 0
fi
echo "Installing Apache Spark, as requirements-spark.lock names it (460 MB, once) ..."
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_REQUIRE_VIRTUALENV=1
.venv/bin/python -m pip install --quiet --require-hashes --no-build-isolation \
    -r requirements-spark.lock
touch $ready
