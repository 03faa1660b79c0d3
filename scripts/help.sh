# Sourced by the scripts here, before they do anything: -h and --help print the comment that a script begins with.
# With HELP_BY set to a Python program of the script, that program prints what it takes as well.
for word in "$@"; do
  case "$word" in
    -h | --help)
      sed -n '/^#!/d; /^#/!q; s/^# \{0,1\}//p' "$0"
      if [ -n "${HELP_BY:-}" ]; then
        echo
        python3 "$(dirname "$0")/$HELP_BY" --help
      fi
      exit 0
      ;;
  esac
done
