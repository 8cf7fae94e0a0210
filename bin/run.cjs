'use strict'

/*
 * Starts a program of this package under a Node that can run it, whatever Node was found first.
 *
 * Older Nodes crash in the native code of our dependencies, and Debian ships
 * older ones. This file and its callers are therefore written in plain old
 * JavaScript: Node 12 must get far enough to hand over to the runtime that
 * `npm ci` installed beside us, or to say in one line what is missing.
 */

var childProcess = require('child_process')
var fs = require('fs')
var path = require('path')
var url = require('url')

var NODE_MIN = [22, 18]
var EXIT_USAGE = 2

/** `entry` is a path below the root of the package. */
module.exports = function run(entry) {
  var root = path.dirname(__dirname)
  var script = path.join(root, entry)
  if (!fs.existsSync(script)) {
    refuse(script + ' is missing: run npm run build in ' + root)
  } else if (isNewEnough(process.versions.node)) {
    import(url.pathToFileURL(script).href)
  } else {
    var runtime = findPinnedRuntime(root)
    if (runtime) runUnder(runtime, script)
    else refuse(needs(process.versions.node, root))
  }
}

function needs(version, root) {
  return [
    'needs Node ' + NODE_MIN.join('.') + ' or newer, this is ' + version,
    'npm ci in ' + root + ' installs one for it',
  ].join('; ')
}

function isNewEnough(version) {
  var parts = version.split('.').map(Number)
  return parts[0] > NODE_MIN[0] || (parts[0] === NODE_MIN[0] && parts[1] >= NODE_MIN[1])
}

/** The npm package `node`, beside this package or in a directory above, as Node itself looks for packages. */
function findPinnedRuntime(root) {
  for (var dir = root; ; dir = path.dirname(dir)) {
    var runtime = path.join(dir, 'node_modules', 'node', 'bin', 'node')
    try {
      fs.accessSync(runtime, fs.constants.X_OK)
      return runtime
    } catch (error) {
      if (dir === path.dirname(dir)) return undefined
    }
  }
}

/** Old Nodes cannot exec: the program runs as a child that gets our signals, and we end as it ended. */
function runUnder(runtime, script) {
  var child = childProcess.spawn(runtime, [script].concat(process.argv.slice(2)), { stdio: 'inherit' })
  // A terminal sends ^C and its hang-up to the child as well: passed on, they would come twice.
  var onTerminal = process.stdin.isTTY || process.stdout.isTTY || process.stderr.isTTY
  var signals = ['SIGTERM', 'SIGINT', 'SIGHUP']
  signals.forEach(function (signal) {
    process.on(signal, function () {
      if (signal === 'SIGTERM' || !onTerminal) child.kill(signal)
    })
  })
  child.on('error', function (error) {
    refuse('cannot start ' + runtime + ': ' + error.message)
  })
  child.on('exit', function (code, signal) {
    if (!signal) process.exit(code)
    signals.forEach(function (name) {
      process.removeAllListeners(name)
    })
    process.kill(process.pid, signal)
  })
}

function refuse(why) {
  console.error(path.basename(process.argv[1], '.cjs') + ': ' + why)
  process.exitCode = EXIT_USAGE
}
