//! An app whose functions have names that symbols of the guest's program have, too: libc's, the linker's and the
//! component model's. Each is its own, and the program still has what it stands on.

#[lydian::app(name = "sdk-names")]
pub mod app {
    use std::hint::black_box;

    /// What would not work if one of libc's own had been replaced: memory, its copies, output, time, variables.
    fn stands() -> bool {
        let mut items: Vec<u64> = black_box((0..1_000).collect());
        items.extend_from_within(..);
        println!("{} items", items.len());
        let now = std::time::SystemTime::now();
        now.elapsed().is_ok() && items[1_999] == 999
    }

    fn answer(name: &str, text: String) -> Result<String, String> {
        if stands() {
            Ok(format!("{name} {text}"))
        } else {
            Err(format!("`{name}` took something's place"))
        }
    }

    #[lydian::function]
    pub fn read(text: String) -> Result<String, String> {
        answer("read", text)
    }

    #[lydian::function]
    pub fn write(text: String) -> Result<String, String> {
        answer("write", text)
    }

    #[lydian::function]
    pub fn open(text: String) -> Result<String, String> {
        answer("open", text)
    }

    #[lydian::function]
    pub fn close(text: String) -> Result<String, String> {
        answer("close", text)
    }

    #[lydian::function]
    pub fn malloc(text: String) -> Result<String, String> {
        answer("malloc", text)
    }

    #[lydian::function]
    pub fn free(text: String) -> Result<String, String> {
        answer("free", text)
    }

    #[lydian::function]
    pub fn memcpy(text: String) -> Result<String, String> {
        answer("memcpy", text)
    }

    #[lydian::function]
    pub fn exit(text: String) -> Result<String, String> {
        answer("exit", text)
    }

    #[lydian::function]
    pub fn abort(text: String) -> Result<String, String> {
        answer("abort", text)
    }

    #[lydian::function]
    pub fn time(text: String) -> Result<String, String> {
        answer("time", text)
    }

    #[lydian::function]
    pub fn main(text: String) -> Result<String, String> {
        answer("main", text)
    }

    /// What the module exports its memory as.
    #[lydian::function]
    pub fn memory(text: String) -> Result<String, String> {
        answer("memory", text)
    }

    /// One whose export is asynchronous.
    #[lydian::function]
    pub async fn connect(text: String) -> Result<String, String> {
        answer("connect", text)
    }
}
