//! `#[derive(Recycle)]` for the `repool` crate; use it through `repool`'s feature `derive`.

use proc_macro::TokenStream;
use proc_macro2::{Span, TokenStream as Tokens, TokenTree};
use quote::{ToTokens, quote, quote_spanned};
use syn::meta::ParseNestedMeta;
use syn::spanned::Spanned;
use syn::{
    Attribute, Data, DeriveInput, Error, Field, GenericParam, Ident, Index, Member, Path, Type,
    WherePredicate, parse_macro_input, parse_quote, parse_quote_spanned,
};

/// Implements `Recycle` for a struct. It recycles the fields in order and adds up their retained
/// bytes.
///
/// Every field must implement `Recycle`, unless an attribute says what to do with it:
///
/// - `#[recycle(skip)]` leaves the field alone. The next user finds what the last one left, and the
///   field weighs nothing.
/// - `#[recycle(with = path)]` calls `path(&mut field)`. The field weighs nothing.
/// - `#[recycle(keep)]`, for an `Option`, `Vec`, `VecDeque` or array of a type that implements
///   `Recycle`, or for a box of one of these, keeps the values inside and recycles each. Without it
///   an `Option` becomes `None` and a vector becomes empty, which gives up what the values have
///   allocated. **The trap**: the next user finds a value that is there but empty, `Some("")` where
///   a new struct has `None`, or a vector with as many empty values as it had. Code that asks
///   `is_some()` or `len()` takes them for real values.
/// - `#[recycle(bytes = path)]`, together with `skip` or `with`: the field weighs `path(&field)`
///   bytes, a `usize`.
///
/// `#[recycle(crate = path)]` on the struct names the path of `repool`, if it has another name.
///
/// ```text
/// #[derive(Default, Recycle)]
/// struct Request {
///     headers: Vec<Header>,            // cleared
///     user: Option<String>,            // None
///     #[recycle(keep)]
///     body: Option<Vec<u8>>,           // Some and empty, if it was Some
///     #[recycle(skip)]
///     id: Uuid,                        // left as it is
///     #[recycle(with = Encoder::restart, bytes = Encoder::memory)]
///     encoder: Encoder,
/// }
/// ```
#[proc_macro_derive(Recycle, attributes(recycle))]
pub fn derive_recycle(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    expand(input)
        .unwrap_or_else(Error::into_compile_error)
        .into()
}

/// What to do with a field.
enum Way {
    Recycle,
    Keep,
    Skip,
    With(Path),
}

/// The attributes of a field.
struct Wishes {
    way: Way,
    bytes: Option<Path>,
}

impl Wishes {
    fn of(field: &Field) -> syn::Result<Self> {
        let mut way: Option<(Way, Span)> = None;
        let mut bytes = None;
        for attribute in ours(&field.attrs) {
            attribute.parse_nested_meta(|meta| {
                let span = meta.path.span();
                let this = if meta.path.is_ident("skip") {
                    Way::Skip
                } else if meta.path.is_ident("keep") {
                    Way::Keep
                } else if meta.path.is_ident("with") {
                    Way::With(function(&meta)?)
                } else if meta.path.is_ident("bytes") {
                    bytes = Some((function(&meta)?, span));
                    return Ok(());
                } else {
                    return Err(meta.error(
                        "unknown attribute of a field; expected `skip`, `keep`, `with = path` or `bytes = path`",
                    ));
                };
                if way.replace((this, span)).is_some() {
                    return Err(meta.error("`skip`, `keep` and `with` exclude each other"));
                }
                Ok(())
            })?;
        }
        let way = way.map_or(Way::Recycle, |(way, _)| way);
        match (&way, &bytes) {
            (Way::Recycle | Way::Keep, Some((_, span))) => Err(Error::new(
                *span,
                "`bytes` needs `skip` or `with`: any other field reports itself what it holds",
            )),
            _ => Ok(Self {
                way,
                bytes: bytes.map(|(path, _)| path),
            }),
        }
    }
}

/// Parses the function of `with = path` or `bytes = path`.
fn function(meta: &ParseNestedMeta) -> syn::Result<Path> {
    let value = meta.value()?;
    value.parse().map_err(|error| {
        let message = "expected the path of a function, such as `module::reset`";
        Error::new(error.span(), message)
    })
}

/// The parts of an implementation that one field contributes.
struct Piece {
    recycle: Tokens,
    retained: Option<Tokens>,
    used: Option<Tokens>,
}

impl Piece {
    /// Uses the spans of the field, so an error points at the field and not at the derive.
    fn of(repool: &Path, member: &Member, field: &Field, wishes: &Wishes) -> Self {
        let (ty, span) = (&field.ty, field.ty.span());
        match &wishes.way {
            Way::Recycle => Self {
                recycle: quote_spanned!(span=> <#ty as #repool::Recycle>::recycle(&mut self.#member);),
                retained: Some(
                    quote_spanned!(span=> <#ty as #repool::Recycle>::retained_bytes(&self.#member)),
                ),
                used: Some(
                    quote_spanned!(span=> <#ty as #repool::Recycle>::used_bytes(&self.#member)),
                ),
            },
            Way::Keep => Self {
                recycle: quote_spanned!(span=> <#ty as #repool::__derive::Keep>::keep(&mut self.#member);),
                retained: Some(
                    quote_spanned!(span=> <#ty as #repool::__derive::Keep>::kept_bytes(&self.#member)),
                ),
                used: Some(
                    quote_spanned!(span=> <#ty as #repool::__derive::Keep>::used_bytes(&self.#member)),
                ),
            },
            Way::Skip | Way::With(_) => {
                let recycle = match &wishes.way {
                    Way::With(path) => quote_spanned!(path.span()=> #path(&mut self.#member);),
                    _ => Tokens::new(),
                };
                let bytes = wishes.bytes.as_ref();
                Self {
                    recycle,
                    retained: bytes
                        .map(|path| quote_spanned!(path.span()=> ::core::convert::identity::<usize>(#path(&self.#member)))),
                    // Unknown, so the object never counts as a large one with little in it.
                    used: bytes.map(|_| quote!(usize::MAX)),
                }
            }
        }
    }
}

fn expand(mut input: DeriveInput) -> syn::Result<Tokens> {
    let kind = match &input.data {
        Data::Struct(_) => None,
        Data::Enum(_) => Some("an enum"),
        Data::Union(_) => Some("a union"),
    };
    if let Some(kind) = kind {
        return Err(Error::new_spanned(
            &input.ident,
            format!(
                "`Recycle` can be derived for structs only: for {kind}, implement `Recycle` and choose what the \
                 next user finds, or use `#[recycle(with = ..)]` on the field that holds it"
            ),
        ));
    }
    let Data::Struct(data) = &input.data else {
        unreachable!("enums and unions are rejected above")
    };
    let repool = crate_path(&input.attrs)?;
    let mut pieces = Vec::new();
    let mut bounds: Vec<WherePredicate> = Vec::new();
    let mut errors: Option<Error> = None;
    for (index, field) in data.fields.iter().enumerate() {
        let member = match &field.ident {
            Some(name) => Member::Named(name.clone()),
            None => Member::Unnamed(Index::from(index)),
        };
        match Wishes::of(field) {
            Ok(wishes) => {
                bounds.extend(bounds_for(&input, &repool, &field.ty, &wishes.way));
                pieces.push(Piece::of(&repool, &member, field, &wishes));
            }
            Err(error) => match &mut errors {
                Some(errors) => errors.combine(error),
                None => errors = Some(error),
            },
        }
    }
    if let Some(errors) = errors {
        return Err(errors);
    }
    input.generics.make_where_clause().predicates.extend(bounds);
    let recycle = pieces.iter().map(|piece| &piece.recycle);
    let retained = pieces.iter().filter_map(|piece| piece.retained.as_ref());
    let used = pieces.iter().filter_map(|piece| piece.used.as_ref());
    let name = &input.ident;
    let (generics, arguments, clause) = input.generics.split_for_impl();
    Ok(quote! {
        #[automatically_derived]
        impl #generics #repool::Recycle for #name #arguments #clause {
            #[inline]
            fn recycle(&mut self) {
                #(#recycle)*
            }

            #[inline]
            fn retained_bytes(&self) -> usize {
                0usize #(.saturating_add(#retained))*
            }

            #[inline]
            fn used_bytes(&self) -> usize {
                0usize #(.saturating_add(#used))*
            }
        }
    })
}

/// Returns the bounds that a generic struct needs for a field. Fields of other types are checked
/// where they are used, which gives better errors.
fn bounds_for(input: &DeriveInput, repool: &Path, ty: &Type, way: &Way) -> Vec<WherePredicate> {
    if matches!(way, Way::Skip | Way::With(_)) {
        return Vec::new();
    }
    let span = ty.span();
    let parameters: Vec<&Ident> = input
        .generics
        .params
        .iter()
        .filter_map(|parameter| match parameter {
            GenericParam::Type(parameter) => Some(&parameter.ident),
            GenericParam::Lifetime(_) | GenericParam::Const(_) => None,
        })
        .filter(|parameter| mentions(ty.to_token_stream(), &|ident| ident == *parameter))
        .collect();
    if parameters.is_empty() {
        return Vec::new();
    }
    let recursive = mentions(ty.to_token_stream(), &|ident| {
        ident == &input.ident || ident == "Self"
    });
    if recursive {
        // A bound on the type itself would be infinitely recursive.
        return parameters
            .into_iter()
            .map(|parameter| parse_quote_spanned!(span=> #parameter: #repool::Recycle))
            .collect();
    }
    vec![match way {
        Way::Keep => parse_quote_spanned!(span=> #ty: #repool::__derive::Keep),
        _ => parse_quote_spanned!(span=> #ty: #repool::Recycle),
    }]
}

fn mentions(tokens: Tokens, wanted: &impl Fn(&Ident) -> bool) -> bool {
    tokens.into_iter().any(|token| match token {
        TokenTree::Ident(ident) => wanted(&ident),
        TokenTree::Group(group) => mentions(group.stream(), wanted),
        TokenTree::Punct(_) | TokenTree::Literal(_) => false,
    })
}

/// Returns the path of `repool`.
fn crate_path(attributes: &[Attribute]) -> syn::Result<Path> {
    let mut found = parse_quote!(::repool);
    for attribute in ours(attributes) {
        attribute.parse_nested_meta(|meta| {
            if !meta.path.is_ident("crate") {
                return Err(meta.error(
                    "unknown attribute of a struct; expected `crate = path` (other attributes belong on fields)",
                ));
            }
            found = meta.value()?.parse()?;
            Ok(())
        })?;
    }
    Ok(found)
}

fn ours(attributes: &[Attribute]) -> impl Iterator<Item = &Attribute> {
    attributes
        .iter()
        .filter(|attribute| attribute.path().is_ident("recycle"))
}
