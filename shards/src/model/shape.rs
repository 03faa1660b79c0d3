//! The form in which a publication is written for a member. The model only tells forms apart.

/// One way in which a publication is written for the wire. The dialects say what each looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Shape(pub(crate) u8);

/// The place of a member in a chain of publications, each of which may be told by its difference
/// from the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Chain {
    /// It takes whole publications only.
    #[default]
    Off,
    /// It takes patches, and has not heard the newest publication: the next one is told whole.
    Fresh,
    /// It takes patches, and has heard the newest publication.
    Linked,
    /// It takes patches and is told each publication whole, as it may lose some of them.
    Whole,
}

impl Chain {
    /// The place of a member that hears the next publication, or will for certain.
    pub(crate) fn heard(self) -> Self {
        if self == Self::Fresh { Self::Linked } else { self }
    }

    /// The place of a member that does not hear the next publication.
    pub(crate) fn lost(self) -> Self {
        if self == Self::Linked { Self::Fresh } else { self }
    }
}

/// The place of a member in the window of its channel: the compressed publications that the next
/// ones may reach back into.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Window {
    /// It takes no part in any.
    #[default]
    Off,
    /// It has not heard all that is in the window, and waits for the next one to begin.
    Apart,
    /// It has heard all that is in the window, and nothing else that was compressed.
    Within,
}

/// The form in which a member of a channel is told publications: the shape of its client, and its
/// places in the chain and the window of the channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Form {
    pub(crate) shape: Shape,
    pub(crate) chain: Chain,
    pub(crate) window: Window,
}

impl Form {
    /// The form of a member that has not heard anything yet.
    pub(crate) fn first(shape: Shape, takes_patches: bool) -> Self {
        let chain = if takes_patches { Chain::Fresh } else { Chain::Off };
        Self { shape, chain, window: Window::Off }
    }

    pub(crate) fn takes_patches(self) -> bool {
        self.chain != Chain::Off
    }

    /// The same shape at another place in the chain.
    pub(crate) fn at(self, chain: Chain) -> Self {
        Self { chain, ..self }
    }

    /// The same at another place in the window.
    pub(crate) fn in_window(self, window: Window) -> Self {
        Self { window, ..self }
    }
}
