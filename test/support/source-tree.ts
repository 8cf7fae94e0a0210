/** The project's own files, and what its TypeScript sources import and contain, as their syntax trees say. */

import { readFileSync, readdirSync } from 'node:fs'
import { dirname, join, relative, sep } from 'node:path'
import { fileURLToPath } from 'node:url'
import ts from 'typescript'

/** Tests run from a directory of compiled files one level below the root. */
export const PROJECT = fileURLToPath(new URL('../../..', import.meta.url))

/** Made by tools; names that begin with .build or .tap are their output directories. */
const NOT_OURS = /^(node_modules|dist|demo-data|\.git|\.tap.*|\.build.*|.*\.log)$/
const TEXT = /\.(ts|js|cjs|json|md|conf|service|yml|example|sh)$|(^|\/)(LICENSE|run|\.[a-z]+(rc|ignore))$/

/** Paths from the root of the project, with `/`. */
export function textFiles(): string[] {
  return readdirSync(PROJECT, { withFileTypes: true })
    .filter(entry => !NOT_OURS.test(entry.name))
    .flatMap(entry =>
      entry.isDirectory()
        ? readdirSync(join(PROJECT, entry.name), { recursive: true, encoding: 'utf8' }).map(p => join(entry.name, p))
        : [entry.name],
    )
    .map(path => path.split(sep).join('/'))
    .filter(path => TEXT.test(path))
    .toSorted()
}

export const textOf = (file: string): string => readFileSync(join(PROJECT, file), 'utf8')

export interface Import {
  /** A file of the project (`src/…/x.ts`), or the name of a package as written. */
  readonly target: string
  readonly ours: boolean
  readonly typeOnly: boolean
}

export interface FunctionSize {
  readonly name: string
  readonly lines: number
}

export class Source {
  readonly #tree: ts.SourceFile

  constructor(readonly file: string) {
    this.#tree = ts.createSourceFile(file, textOf(file), ts.ScriptTarget.ESNext, true)
  }

  get lines(): number {
    return this.#tree.text.split('\n').length - 1
  }

  /** True for a module that only hands on what others have. */
  get isBarrel(): boolean {
    const { statements } = this.#tree
    return statements.every(s => ts.isImportDeclaration(s) || (ts.isExportDeclaration(s) && s.moduleSpecifier))
  }

  imports(): Import[] {
    return [...nodes(this.#tree)].flatMap(node => {
      const found = importOf(node)
      return found === undefined ? [] : [this.#resolve(found)]
    })
  }

  functions(): FunctionSize[] {
    return [...nodes(this.#tree)].filter(ts.isFunctionLike).flatMap(node => {
      if (!('body' in node) || node.body === undefined) return []
      const line = (at: number) => this.#tree.getLineAndCharacterOfPosition(at).line
      return [{ name: nameOf(node), lines: line(node.end) - line(node.getStart()) + 1 }]
    })
  }

  /** Lines on which `object.…` is used: identifiers, not words in comments or texts. */
  uses(object: string): number[] {
    return [...nodes(this.#tree)]
      .filter(node => ts.isPropertyAccessExpression(node) && node.expression.getText() === object)
      .map(node => this.#tree.getLineAndCharacterOfPosition(node.getStart()).line + 1)
  }

  #resolve({ specifier, typeOnly }: Found): Import {
    const ours = specifier.startsWith('.')
    const path = relative(PROJECT, join(PROJECT, dirname(this.file), specifier))
      .split(sep)
      .join('/')
    return { target: ours ? path.replace(/\.js$/, '.ts') : specifier, ours, typeOnly }
  }
}

interface Found {
  readonly specifier: string
  readonly typeOnly: boolean
}

function importOf(node: ts.Node): Found | undefined {
  if (ts.isImportDeclaration(node) && ts.isStringLiteral(node.moduleSpecifier)) {
    const typeOnly = node.importClause?.phaseModifier === ts.SyntaxKind.TypeKeyword
    return { specifier: node.moduleSpecifier.text, typeOnly }
  }
  if (ts.isExportDeclaration(node) && node.moduleSpecifier && ts.isStringLiteral(node.moduleSpecifier)) {
    return { specifier: node.moduleSpecifier.text, typeOnly: node.isTypeOnly }
  }
  if (ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword) {
    const [first] = node.arguments
    if (first && ts.isStringLiteral(first)) return { specifier: first.text, typeOnly: false }
  }
  return undefined
}

function nameOf(node: ts.SignatureDeclaration): string {
  const named = node.name ?? (ts.isVariableDeclaration(node.parent) ? node.parent.name : undefined)
  return named?.getText() ?? 'a function without a name'
}

function* nodes(node: ts.Node): Generator<ts.Node, void, undefined> {
  yield node
  const children: ts.Node[] = []
  ts.forEachChild(node, child => void children.push(child))
  for (const child of children) yield* nodes(child)
}
