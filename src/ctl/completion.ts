/**
 * `ocsctl completion bash | zsh | fish`: a script for the shell, written from the commands that there are. It completes commands, options
 * and the values that an option may have; what stands in the daemon it does not ask for.
 */
import type { Command, Option } from 'commander'

export const shells = ['bash', 'zsh', 'fish'] as const
export type Shell = (typeof shells)[number]

export function addCompletionCommand(program: Command): void {
  program
    .command('completion')
    .argument('<shell>', shells.join(', '))
    .description('Print a completion script for the shell: source <(ocsctl completion bash).')
    .exitOverride()
    .addHelpText(
      'after',
      `
bash:  source <(ocsctl completion bash), in ~/.bashrc
zsh:   source <(ocsctl completion zsh), in ~/.zshrc behind compinit
fish:  ocsctl completion fish > ~/.config/fish/completions/ocsctl.fish`,
    )
    .action((shell: string) => {
      if (!isShell(shell)) program.error(`error: no completion for ${shell}: write ${shells.join(', ')}`)
      process.stdout.write(completionScript(program, shell))
    })
}

const isShell = (word: string): word is Shell => (shells as readonly string[]).includes(word)

/** A place in the tree of commands: `''`, `show`, `show account`. */
interface Place {
  readonly path: string
  readonly words: readonly Word[]
  /** Options that take a value: the word behind them is no command. */
  readonly valued: readonly string[]
  /** By option. */
  readonly choices: ReadonlyMap<string, readonly string[]>
}

interface Word {
  readonly word: string
  readonly description: string
}

export function completionScript(program: Command, shell: Shell): string {
  const places = placesOf(program, '')
  switch (shell) {
    case 'bash':
      return bashScript(program.name(), places)
    case 'zsh':
      // Its own emulation of bash's completion: one text to keep right.
      return `autoload -U +X bashcompinit && bashcompinit\n${bashScript(program.name(), places)}`
    case 'fish':
      return fishScript(program.name(), places)
  }
}

function placesOf(command: Command, path: string): Place[] {
  const options = command.options.filter(option => !option.hidden)
  const below = command.commands.map(each => ({ word: each.name(), description: each.description() }))
  const here: Place = {
    path,
    words: [
      ...below,
      ...options.flatMap(option => namesOf(option).map(word => ({ word, description: option.description }))),
      { word: '--help', description: 'display help for command' },
    ],
    valued: options.filter(option => option.required || option.optional).flatMap(namesOf),
    choices: new Map(
      options.flatMap(option => (option.argChoices ? namesOf(option).map(name => [name, option.argChoices!]) : [])),
    ),
  }
  const shown = path === '' ? '' : `${path} `
  const completed = command.name() === 'completion' ? { ...here, words: [...here.words, ...shells.map(word => ({ word, description: word }))] } : here // prettier-ignore
  return [completed, ...command.commands.flatMap(each => placesOf(each, `${shown}${each.name()}`))]
}

const namesOf = ({ long, short }: Option): string[] => [long, short].filter(name => name != null)

/** In single quotes: nothing of a description is for the shell. */
const quoted = (text: string): string => `'${text.replaceAll("'", String.raw`'\''`)}'`

function bashScript(name: string, places: readonly Place[]): string {
  const valued = [...new Set(places.flatMap(place => place.valued))].sort()
  const choices = new Map(places.flatMap(place => [...place.choices]))
  const cases = places.map(({ path, words }) => `    ${quoted(path)}) words=${quoted(words.map(({ word }) => word).join(' '))} ;;`)
  const known = places.filter(({ path }) => path !== '').map(({ path }) => quoted(path))
  return `# bash completion for ${name}; made by: ${name} completion bash
_${name}_complete() {
  local current="\${COMP_WORDS[COMP_CWORD]}" previous="\${COMP_WORDS[COMP_CWORD-1]}" place='' words='' i word
  case "$previous" in
${[...choices].map(([option, values]) => `    ${option}) COMPREPLY=($(compgen -W ${quoted(values.join(' '))} -- "$current")); return ;;\n`).join('')}    ${valued.join('|')}) COMPREPLY=($(compgen -f -- "$current")); return ;;
  esac
  for ((i = 1; i < COMP_CWORD; i++)); do
    word="\${COMP_WORDS[i]}"
    case "$word" in
      ${valued.join('|')}) ((i++)); continue ;;
      -*) continue ;;
    esac
    case "\${place:+$place }$word" in
      ${known.join('|')}) place="\${place:+$place }$word" ;;
    esac
  done
  case "$place" in
${cases.join('\n')}
  esac
  case "$current" in
    -*) ;;
    *) words=$(for word in $words; do case "$word" in -*) ;; *) echo "$word" ;; esac; done) ;;
  esac
  COMPREPLY=($(compgen -W "$words" -- "$current"))
  if [ \${#COMPREPLY[@]} -eq 0 ]; then COMPREPLY=($(compgen -f -- "$current")); fi
}
complete -o filenames -F _${name}_complete ${name}
`
} // prettier-ignore

function fishScript(name: string, places: readonly Place[]): string {
  const lines = places.flatMap(({ path, words, valued, choices }) => {
    const steps = path === '' ? [] : path.split(' ')
    const seen = steps.map(step => `__fish_seen_subcommand_from ${step}`)
    const below = words.filter(({ word }) => !word.startsWith('-')).map(({ word }) => word)
    // Not once a command below was chosen.
    const not = below.length === 0 ? [] : [`not __fish_seen_subcommand_from ${below.join(' ')}`]
    const condition = quoted([...seen, ...not].join('; and ') || '__fish_use_subcommand')
    return words.flatMap(({ word, description }) => {
      const about = `complete -c ${name} -n ${condition}`
      if (word.startsWith('--')) {
        const values = choices.get(word)
        const takes = valued.includes(word) ? ` -r${values ? ` -f -a ${quoted(values.join(' '))}` : ''}` : ''
        return [`${about} -l ${word.slice(2)}${takes} -d ${quoted(description)}`]
      }
      return word.startsWith('-') ? [] : [`${about} -f -a ${word} -d ${quoted(description)}`]
    })
  })
  return `# fish completion for ${name}; made by: ${name} completion fish\n${lines.join('\n')}\n`
}
