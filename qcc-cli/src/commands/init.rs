//! `qcc init`.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::cli::Global;
use crate::config::{self, Environment, Starter};
use crate::output::{DIM, Exit, Failure, GOOD, Output, STRONG, WARN, styled};

/// The options of `init`.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct Args {
    /// Write the file anew if it is there already; what it holds is lost
    #[arg(long)]
    force: bool,
}

/// Runs the command.
///
/// # Errors
///
/// The file is there already, or cannot be written.
pub(super) fn run(args: Args, global: &Global, environment: &Environment) -> Result<Exit, Failure> {
    let (path, _) = config::path(global.config.as_deref(), environment);
    if path.starts_with("~") {
        let message = "there is no home directory to write to\n  name a file with --config FILE";
        return Err(Failure::new(Exit::Failure, message));
    }
    let starter = Starter::new(environment);
    write(&path, &starter.text, args.force).map_err(|error| refusal(&path, &error))?;
    let written = Written::of(&starter, path, global.config.is_some());
    Output::new(global.json).show(&written, |stream| written.write(stream))?;
    Ok(Exit::Success)
}

/// Writes `text`, for the eyes of the owner alone: sooner or later keys stand in it.
fn write(path: &Path, text: &str, force: bool) -> io::Result<()> {
    if let Some(folder) = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
    {
        private_folder()
            .create(folder)
            .map_err(|error| match error.kind() {
                // Something in the way that is no folder; the file itself is another matter.
                io::ErrorKind::AlreadyExists => io::ErrorKind::NotADirectory.into(),
                _ => error,
            })?;
    }
    let mut options = OpenOptions::new();
    options.write(true);
    if force {
        options.create(true).truncate(true);
    } else {
        options.create_new(true);
    }
    let mut file = private_file(&mut options).open(path)?;
    close_to_others(&file)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

#[cfg(unix)]
fn private_folder() -> DirBuilder {
    use std::os::unix::fs::DirBuilderExt as _;
    let mut builder = DirBuilder::new();
    builder.recursive(true).mode(0o700);
    builder
}

#[cfg(unix)]
fn private_file(options: &mut OpenOptions) -> &mut OpenOptions {
    use std::os::unix::fs::OpenOptionsExt as _;
    options.mode(0o600)
}

/// A file that was there before keeps its mode when it is opened.
#[cfg(unix)]
fn close_to_others(file: &File) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    file.set_permissions(std::fs::Permissions::from_mode(0o600))
}

#[cfg(not(unix))]
fn private_folder() -> DirBuilder {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    builder
}

#[cfg(not(unix))]
fn private_file(options: &mut OpenOptions) -> &mut OpenOptions {
    options
}

#[cfg(not(unix))]
fn close_to_others(_file: &File) -> io::Result<()> {
    Ok(())
}

fn refusal(path: &Path, error: &io::Error) -> Failure {
    let path = path.display();
    let message = match error.kind() {
        io::ErrorKind::AlreadyExists => format!(
            "{path}: is there already and was left as it is\n  \
             look at it with `qcc config show`, write it anew with --force, \
             or name another file with --config FILE"
        ),
        _ => format!("{path}: cannot be written: {error}\n  name another file with --config FILE"),
    };
    Failure::new(Exit::Failure, message)
}

/// What was written, for programs.
#[derive(Serialize)]
struct Written {
    file: PathBuf,
    clusters: Vec<Cluster>,
    /// Whether the keys are there, so that the proxy can start.
    ready: bool,
    /// Whether commands have to be told where the file is.
    #[serde(skip)]
    named: bool,
}

#[derive(Serialize)]
struct Cluster {
    name: &'static str,
    /// The variable with its key.
    variable: &'static str,
}

impl Written {
    fn of(starter: &Starter, file: PathBuf, named: bool) -> Self {
        let clusters = starter.vendors.iter().map(|vendor| Cluster {
            name: vendor.cluster,
            variable: vendor.variable,
        });
        Self {
            file,
            clusters: clusters.collect(),
            ready: starter.ready,
            named,
        }
    }

    fn write(&self, stream: &mut dyn Write) -> io::Result<()> {
        let file = self.file.display();
        writeln!(stream, "{} {file}\n", styled(GOOD.bold(), "written:"))?;
        for Cluster { name, variable } in &self.clusters {
            let name = styled(STRONG, name);
            writeln!(stream, "  cluster {name} with the key in {variable}")?;
        }
        if !self.ready {
            let variable = self.clusters.first().map_or("", |first| first.variable);
            let missing = styled(WARN, "no key was found in the environment or in .env");
            writeln!(
                stream,
                "\n{missing}\n  set {variable}, or write a key into the file: it says where"
            )?;
        }
        let option = if self.named {
            format!(" --config {file}")
        } else {
            String::new()
        };
        writeln!(stream, "\nnext:")?;
        for (command, what) in [
            ("qcc config check", "see whether all is there"),
            ("qcc serve", "start the proxy"),
        ] {
            let what = styled(DIM, format_args!("# {what}"));
            writeln!(stream, "  {command}{option}  {what}")?;
        }
        Ok(())
    }
}
