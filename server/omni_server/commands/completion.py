"""Print a script that completes commands and flags of `omni` in a shell.

bash    eval "$(omni completion bash)"            in ~/.bashrc
zsh     eval "$(omni completion zsh)"             in ~/.zshrc, behind compinit
fish    omni completion fish > ~/.config/fish/completions/omni.fish
"""

import argparse
from collections.abc import Mapping

SHELLS = ("bash", "zsh", "fish")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    first, _, rest = (__doc__ or "").partition("\n\n")
    parser.description, parser.epilog = first, rest
    parser.add_argument("shell", choices=SHELLS, help="the shell to write for")


def run(args: argparse.Namespace) -> int:
    """Print the script."""
    from omni_server.cli import COMMANDS

    flags = {name: flags_of(name) for name in COMMANDS}
    written = {"bash": bash, "zsh": zsh, "fish": fish}[args.shell]
    print(written(COMMANDS, flags))
    return 0


def flags_of(command: str) -> dict[str, str]:
    """The long flags of a command, with the first words of their help."""
    from omni_server.cli import load

    parser = argparse.ArgumentParser()
    load(command).add_arguments(parser)
    found: dict[str, str] = {}
    for action in parser._actions:  # argparse has no public list of them
        for flag in action.option_strings:
            if flag.startswith("--"):
                found[flag] = (action.help or "").split(" (")[0].split(":")[0].strip()
    return found


def bash(commands: Mapping[str, str], flags: Mapping[str, Mapping[str, str]]) -> str:
    """For bash: files where nothing of ours fits."""
    cases = "\n".join(f'    {name}) words="{" ".join(sorted(known))}" ;;' for name, known in flags.items())
    return f"""_omni() {{
  local words="{" ".join(commands)} --help --version" word="${{COMP_WORDS[COMP_CWORD]}}"
  if [ "$COMP_CWORD" -gt 1 ]; then case "${{COMP_WORDS[1]}}" in
{cases}
    *) words="" ;;
  esac; fi
  COMPREPLY=($(compgen -W "$words" -- "$word"))
}}
complete -o default -F _omni omni"""


def zsh(commands: Mapping[str, str], flags: Mapping[str, Mapping[str, str]]) -> str:
    """For zsh, with what each is for."""
    listed = "\n".join(f"    {_quoted(f'{name}:{line}')}" for name, line in commands.items())
    cases = "\n".join(f"    {name}) _values -w flags {_values(known)}; _files ;;" for name, known in flags.items())
    return f"""_omni() {{
  local -a commands=(
{listed}
  )
  if (( CURRENT == 2 )); then _describe command commands; return; fi
  case "${{words[2]}}" in
{cases}
  esac
}}
compdef _omni omni"""


def fish(commands: Mapping[str, str], flags: Mapping[str, Mapping[str, str]]) -> str:
    """For fish, with what each is for."""
    lines = [
        f"complete -c omni -n __fish_use_subcommand -f -a {name} -d {_quoted(line)}" for name, line in commands.items()
    ]
    lines += [
        f"complete -c omni -n '__fish_seen_subcommand_from {name}' -l {flag[2:]} -d {_quoted(text)}"
        for name, known in flags.items()
        for flag, text in known.items()
    ]
    return "\n".join(lines)


def _values(known: Mapping[str, str]) -> str:
    return " ".join(_quoted(_described(flag, text)) for flag, text in known.items())


def _described(flag: str, text: str) -> str:
    clean = text.replace("[", "(").replace("]", ")").replace(":", ",")
    return f"{flag}[{clean}]"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"
