import fc from 'fast-check'
import t from 'tap'
import { parseKeyFile } from '../../src/shared/key-file.js'

const value = (text: string) => parseKeyFile(`[database]\npassword = ${text}\n`).get('database', 'password')

t.test('key file: a value keeps every character that an ini reader would take for a comment or a quote', async t => {
  t.equal(value('p;a#s"s=w'), 'p;a#s"s=w')
  t.equal(value('"quoted"'), '"quoted"')
  t.equal(value("'quoted'"), "'quoted'")
  t.equal(value('two  words'), 'two  words')
  t.equal(value('# not a comment'), '# not a comment')
  t.equal(value('[x]'), '[x]')
  t.equal(value('true'), 'true')
  t.equal(value('$1 ${HOME} %(x)s'), '$1 ${HOME} %(x)s')
})

t.test('key file: the escapes of GLib are resolved, and a lone backslash is a problem that shows no value', async t => {
  t.equal(value(String.raw`a\\b\sc`), String.raw`a\b c`)

  const file = parseKeyFile('[database]\npassword = hun\\ter2\nuser=x\\')
  t.equal(file.get('database', 'password'), 'hun\ter2', 'a tab is what \\t means')
  t.equal(file.problems.length, 1)
  t.match(file.problems[0], /line 3.*user/)

  const lone = parseKeyFile('[database]\npassword = secr\\et')
  t.match(lone.problems, [/line 2.*password.*backslash/])
  t.notMatch(lone.problems[0], /secr/)
})

t.test('key file: white space around names and values goes, and an empty value is none', async t => {
  const file = parseKeyFile('[backup]  \r\n  listen  =  0.0.0.0:1 \t\r\nworkers =\r\n')
  t.equal(file.get('backup', 'listen'), '0.0.0.0:1')
  t.equal(file.get('backup', 'workers'), undefined)
  t.strictSame(file.keys('backup'), ['listen', 'workers'])
  t.strictSame(file.problems, [])
})

t.test('key file: a section or key given twice is one, and the last value holds', async t => {
  const file = parseKeyFile('[a]\nx=1\n[b]\nx=2\n[a]\nx=3\ny=4')
  t.equal(file.get('a', 'x'), '3')
  t.equal(file.get('a', 'y'), '4')
  t.equal(file.get('b', 'x'), '2')
})

t.test('key file: names of JavaScript are names like any other', async t => {
  const file = parseKeyFile('[__proto__]\ntoString=1\n[a.b]\nconstructor=2\n[c]\n__proto__=3')
  t.equal(file.get('__proto__', 'toString'), '1')
  t.equal(file.get('a.b', 'constructor'), '2')
  t.equal(file.get('c', '__proto__'), '3')
  t.equal(file.get('c', 'toString'), undefined)
  t.strictSame(file.keys('nowhere'), [])
})

t.test('key file: lines that are nothing are problems, with their numbers and without their text', async t => {
  const { problems } = parseKeyFile('early = 1\n# fine\n; fine\n\n[a]\nhunter2\n= 3\n[unclosed\n')
  t.match(problems, [/line 1 .*before/, /line 6 /, /line 7 /, /line 8 /])
  t.equal(problems.length, 4)
  t.notMatch(problems.join(), /hunter2/)
})

t.test('key file: whatever the text, reading it throws nothing and gives text or nothing', async t => {
  const wellKept = fc.property(fc.string({ unit: fc.constantFrom(...'[]=#;\\ \t\r\nab"é') }), text => {
    const file = parseKeyFile(text)
    const values = file.keys('a').map(key => file.get('a', key))
    return values.every(found => found === undefined || (found !== '' && found === found.trimEnd()))
  })
  t.equal(fc.check(wellKept).failed, false)
})

t.test('key file: a value of printable characters survives, its backslashes written twice', async t => {
  const survives = fc.property(
    fc.stringMatching(/^[!-~]([ -~]*[!-~])?$/),
    plain => value(plain.replaceAll('\\', '\\\\')) === plain,
  )
  t.equal(fc.check(survives).failed, false)
})
