/**
 * `seafile.conf` as seaf-server reads it: a GLib key file.
 *
 * The `ini` package cannot be used for it. It ends a value at `;` or `#`, takes
 * quotes off and turns `true` and `[a.b]` into something else, so that a
 * database password with such a character would reach us changed. GLib knows
 * comments on lines of their own only, keeps quotes, and resolves the escapes
 * \s \n \t \r \\; seaf-server then cuts the white space off the end, and takes
 * an empty value for none.
 *
 * Nothing that is wrong in a file is thrown here: problems are collected, so
 * that the caller can tell the administrator about all of them at once. They
 * name lines and keys, never values.
 */

export interface KeyFile {
  /** The value as seaf-server sees it; undefined when absent or empty. */
  get(section: string, key: string): string | undefined
  /** The keys of a section in the order of the file; none when there is no such section. */
  keys(section: string): string[]
  readonly problems: readonly string[]
}

const ESCAPES: Readonly<Record<string, string>> = { s: ' ', n: '\n', t: '\t', r: '\r', '\\': '\\' }

const SECTION = /^\[([^\][]+)\][ \t]*$/
const COMMENT = /^[#;]/

/** A key or section that appears twice is one: the last value holds, as in GLib. */
export function parseKeyFile(text: string): KeyFile {
  const sections = new Map<string, Map<string, string>>()
  const problems: string[] = []
  let current: Map<string, string> | undefined

  text.split('\n').forEach((raw, index) => {
    const line = raw.replace(/\r$/, '').trimStart()
    if (line === '' || COMMENT.test(line)) return
    const name = SECTION.exec(line)?.[1]
    if (name !== undefined) {
      current = sections.get(name) ?? new Map<string, string>()
      sections.set(name, current)
      return
    }
    const equals = line.indexOf('=')
    if (equals < 1) problems.push(`line ${index + 1} is no [section], no key = value and no # comment`)
    else if (current === undefined) problems.push(`line ${index + 1} stands before the first [section]`)
    else readValue(line, equals, index + 1, current, problems)
  })

  return {
    get: (section, key) => sections.get(section)?.get(key) || undefined,
    keys: section => [...(sections.get(section)?.keys() ?? [])],
    problems,
  }
}

function readValue(
  line: string,
  equals: number,
  lineNumber: number,
  section: Map<string, string>,
  problems: string[],
): void {
  const key = line.slice(0, equals).trimEnd()
  const value = unescape(line.slice(equals + 1).trimStart())
  if (value === undefined) {
    problems.push(`line ${lineNumber}: the value of ${key} has a lone backslash: write \\\\ for one`)
  }
  section.set(key, value?.trimEnd() ?? '')
}

/** Undefined for an escape that GLib refuses. */
function unescape(value: string): string | undefined {
  let known = true
  const plain = value.replace(/\\(.?)/gs, (_, letter: string) => {
    const meant = ESCAPES[letter]
    if (meant === undefined) known = false
    return meant ?? ''
  })
  return known ? plain : undefined
}
