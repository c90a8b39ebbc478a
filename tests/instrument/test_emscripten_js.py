"""Names from the JavaScript that Emscripten writes: of exports, and of imports, also where Closure has taken them."""

from __future__ import annotations

from pathlib import Path

import pytest
import wasmtime

import caesura
from caesura import name_emscripten
from caesura.wasm.module import Module
from tests.cli.running import caesura_command
from tests.support.engine import assemble, engine
from tests.support.paths import npm_file

# Its imports and exports as Emscripten shortens them.
GUEST = assemble("""
(module
  (import "a" "a" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (import "a" "b" (func $ask (param i32) (result i32)))
  (import "a" "c" (func $now (result f64)))
  (import "a" "d" (func $seek (param i32 i32 i32 i32 i32) (result i32)))
  (memory 1) (table 1 funcref)
  (export "e" (memory 0)) (export "f" (func $start)) (export "g" (func $twice)) (export "h" (table 0))
  (export "i" (func $twice)) (export "j" (func $twice))
  (func $start)
  (func $twice (param i32) (result i32) (i32.add (call $ask (local.get 0)) (call $ask (local.get 0)))))
""")

# What versions of Emscripten write, from 3.1.6 on; in all of them the same is said.
SCRIPTS = {
    "named": """
        var asmLibraryArg={"b":_ask,"a":_fd_write,"c":_emscripten_date_now,"d":_fd_seek};
        addOnInit(Module["asm"]["f"]);
        var _twice=Module["_twice"]=function(){
          return(_twice=Module["_twice"]=Module["asm"]["g"]).apply(null,arguments)};
        var _malloc=Module["_malloc"]=function(){
          return(_malloc=Module["_malloc"]=Module["asm"]["i"]).apply(null,arguments)};
        """,
    "arrows": """
        var wasmImports={/** @export */ b:_ask,// a comment, with a } in it
          /** @export */ a:_fd_write,c:_emscripten_date_now,d:_fd_seek};
        var wasmExports; function initRuntime(){wasmExports["f"]()}
        var _twice=Module["_twice"]=a0=>(_twice=Module["_twice"]=wasmExports["g"])(a0);
        var _malloc=Module["_malloc"]=a0=>(_malloc=Module["_malloc"]=wasmExports["i"])(a0);
        """,
    "closure": """
        var d=moduleArg,Z; var aa=(a,c)=>{d.print?.("};"+`${{a:1}.a}`);for(var f of c)f===10||10===f};
        var x={a:aa,b:function(a){return d.ask({sleep:1},a)},c:()=>Date.now(),d:function(){return 70},k:/[}"']/g};
        Z=await(async function(){function a(b){
          b=Z=b.exports;d._twice=b.g;ba=d._malloc=b.i;c._elsewhere=q.r;return Z}})();
        Z.f();
        """,
}


def outline(module: bytes) -> tuple[list[str], list[str]]:
    parsed = Module(module)
    return [f"{item.module}.{item.name}" for item in parsed.imports], [item.name for item in parsed.exports]


@pytest.mark.parametrize("form", SCRIPTS)
def test_imports_and_exports_are_named(form: str) -> None:
    named = name_emscripten(GUEST, SCRIPTS[form])
    wasmtime.Module.validate(engine(), named.module)
    imports, exports = outline(named.module)
    # Divided into halves it is not WASI's function; of Closure's output only the type tells.
    seek = "a.d" if form == "closure" else "env.fd_seek"
    assert imports == ["wasi_snapshot_preview1.fd_write", "env.ask", "env.emscripten_date_now", seek]
    assert exports == ["memory", "__wasm_call_ctors", "twice", "__indirect_function_table", "malloc", "j"]
    assert named.imports["a.b"] == "env.ask"
    assert named.exports["g"] == "twice"
    assert set(named.unnamed) == {"j"} | ({"a.d"} if form == "closure" else set())


def test_everything_else_stays() -> None:
    module = caesura.instrument(GUEST).module
    named = name_emscripten(module, SCRIPTS["named"])
    old, new = Module(module), Module(named.module)
    changed = ("import", "export")
    for before, after in zip(old.sections, new.sections, strict=True):
        assert before.id == after.id
        if before.id not in (2, 7):
            assert module[before.payload : before.end] == named.module[after.payload : after.end], changed


def test_names_that_are_not_sure_are_none() -> None:
    """Two that fit one name, an unknown function, a type that does not fit, two names for one export."""
    guest = assemble("""(module
      (import "a" "a" (func (result f64))) (import "a" "b" (func (result f64))) (import "a" "c" (func (result i32)))
      (import "a" "d" (func)) (func (export "e")) (func (export "f")))""")
    script = (
        "var x={a:()=>Date.now(),b:()=>Date.now(),c:()=>Date.now(),d:()=>{q()}};d._one=b.e;d._two=b.e;d._x=b.f;d._x=b.f"
    )
    named = name_emscripten(guest, script)
    assert named.imports == {}
    assert named.exports == {"f": "x"}
    assert named.unnamed == ("a.a", "a.b", "a.c", "a.d", "e")


def test_an_imported_memory_is_exported_too() -> None:
    """WASI's functions look for it there."""
    guest = assemble('(module (import "a" "a" (memory 1)) (import "a" "b" (func)))')
    named = name_emscripten(guest, "var q=new WebAssembly.Memory({initial:1});var x={a:q,b:_hello}")
    assert outline(named.module) == (["env.memory", "env.hello"], ["memory"])


def test_names_that_nobody_shortened_stay() -> None:
    guest = assemble('(module (import "env" "ask" (func $f)) (func (export "main") call $f))')
    named = name_emscripten(
        guest, 'var info={"env":x};var asmLibraryArg={"ask":_ask};Module["_main"]=Module["asm"]["main"]'
    )
    assert (named.module, named.imports, named.exports, named.unnamed) == (guest, {}, {}, ())


@pytest.mark.parametrize("script", ["", "var x={a:_b,b:_c};", "var x={", "var x={a:`${", "/*", "x={a:'"])
def test_a_script_of_something_else_is_refused(script: str) -> None:
    with pytest.raises(caesura.UsageError, match="does not belong to this module"):
        name_emscripten(GUEST, script)


def test_a_published_module() -> None:
    """SQLite from npm: all of its functions are named, and nothing is that is not certain."""
    folder = npm_file("wa-sqlite/dist/wa-sqlite.mjs").parent
    named = name_emscripten((folder / "wa-sqlite.wasm").read_bytes(), (folder / "wa-sqlite.mjs").read_text())
    names = set(named.exports.values())
    assert {"sqlite3_prepare_v2", "sqlite3_step", "sqlite3_open_v2", "malloc", "free", "memory"} <= names
    assert len(names) == len(named.exports) > 40
    assert named.imports["a.a"] == "env.__assert_fail"


def test_the_command(tmp_path: Path) -> None:
    (tmp_path / "in.wasm").write_bytes(GUEST)
    (tmp_path / "in.js").write_text(SCRIPTS["named"])
    options = ("--emscripten-js", tmp_path / "in.js", "--imports", "env.ask", "--strict")
    done = caesura_command("instrument", tmp_path / "in.wasm", "-o", tmp_path / "out.wasm", *options, "--verbose")
    assert done.code == 0, done.err
    assert "a.b is env.ask\n" in done.err
    assert "caesura: warning: imports and exports that keep their letters: j\n" in done.err
    imports, exports = outline((tmp_path / "out.wasm").read_bytes())
    assert imports[1] == "env.ask" and "malloc" in exports
    (tmp_path / "in.js").write_text("nothing")
    done = caesura_command("instrument", tmp_path / "in.wasm", "-o", tmp_path / "out.wasm", *options)
    assert done.code == 1
    assert done.error_line().startswith(f"{tmp_path / 'in.js'}: the script has no table")


def test_explaining_by_real_names(tmp_path: Path) -> None:
    (tmp_path / "in.wasm").write_bytes(GUEST)
    (tmp_path / "in.js").write_text(SCRIPTS["named"])
    options = ("--emscripten-js", tmp_path / "in.js", "--imports", "env.ask", "--strict", "--quiet")
    done = caesura_command("explain", tmp_path / "in.wasm", *options)
    assert "import env.ask" in done.out.decode(), done.err


@pytest.mark.parametrize("version", SCRIPTS)
def test_a_script_with_megabytes_of_data_in_it(version: str) -> None:
    """What is read for each place in a long word would take hours: scripts have whole workers in them as text."""
    data = "aVJc2/" * 200 + "b" * 4_000_000
    long = f"var data='{data}',q={'c' * 1_000_000}.exports,{'d' * 1_000_000}=1/{'e' * 100_000};"
    assert name_emscripten(GUEST, long + SCRIPTS[version]) == name_emscripten(GUEST, SCRIPTS[version])


def test_the_script_of_another_build() -> None:
    """Its letters are others': a function that calls an export with as many arguments as that does not take tells."""
    script = SCRIPTS["arrows"].replace("a0=>(_malloc", "(a0,a1)=>(_malloc").replace('["i"])(a0)', '["i"])(a0,a1)')
    with pytest.raises(caesura.UsageError, match=r"export 'i' with another number of arguments .* another build"):
        name_emscripten(GUEST, script)


def test_names_that_nobody_has_shortened() -> None:
    """The script of a build without optimization has its table in other words, and there is nothing to name."""
    module = assemble(
        '(module (import "env" "emscripten_sleep" (func (param i32))) (memory (export "memory") 1) '
        '(func (export "malloc") (param i32) (result i32) (local.get 0)))'
    )
    named = name_emscripten(module, "var imports = makeImports();")
    assert (named.module, named.imports, named.exports, named.unnamed) == (module, {}, {}, ())
