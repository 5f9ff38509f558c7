# Programs that are built once, into the cache. To be sourced.
#
#   kept PROGRAM WHAT BUILD    unless PROGRAM is there: says WHAT it is, and calls the function BUILD in an empty folder, where
#                              it leaves the program under its own name
#   kept_module FOLDER WHAT [PACKAGE]
#                              the program of the Go module in FOLDER, or of a package that it requires, once for each version of
#                              its sources; prints its path
#
# Owns how such a program comes to be: whole or not at all. What is built, and from what, says the caller.

kept() {
  local program=$1 what=$2 build=$3 work
  [ ! -x "$program" ] || return 0
  echo "setup: building $what into $program" >&2
  mkdir -p "$(dirname "$program")"
  work=$(mktemp -d)
  # Expanded now: the name is gone when the script ends.
  trap "rm -rf '$work'" EXIT
  cd "$work"
  "$build" >&2
  cd - >/dev/null
  cp "$work/$(basename "$program")" "$program.new"
  mv "$program.new" "$program"
}

kept_module() {
  local folder=$1 what=$2 package=${3:-.} name sum program
  local sources=("$folder"/go.mod "$folder"/go.sum)
  [ "$package" != . ] || sources+=("$folder"/main.go)
  name=$(basename "${3:-$folder}")
  sum=$(cat "${sources[@]}" | sha256sum | cut -c1-16)
  program=$HOME/.cache/ottla/tools/$(basename "$folder")-$sum/$name
  build_module() {
    CGO_ENABLED=0 nice -n 10 go build -C "$folder" -mod=readonly -trimpath -ldflags '-s -w' -o "$PWD/$name" "$package"
  }
  kept "$program" "$what" build_module
  echo "$program"
}
