//! `#[derive(Recycle)]` for the `repool` crate; use it through `repool`'s feature `derive`.

use proc_macro::TokenStream;
use quote::quote;
use syn::{Data, DeriveInput, Error, Index, Member, parse_macro_input, parse_quote};

/// Implements `Recycle` for a struct whose fields are all `Recycle`: each field is recycled in
/// order, and their retained bytes are added up.
#[proc_macro_derive(Recycle)]
pub fn derive_recycle(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    expand(input)
        .unwrap_or_else(Error::into_compile_error)
        .into()
}

fn expand(mut input: DeriveInput) -> syn::Result<proc_macro2::TokenStream> {
    let Data::Struct(data) = &input.data else {
        return Err(Error::new_spanned(
            &input.ident,
            "`Recycle` can be derived for structs only: for an enum or a union, say yourself what \
             the next user should find",
        ));
    };
    let members: Vec<Member> = data
        .fields
        .iter()
        .enumerate()
        .map(|(index, field)| match &field.ident {
            Some(name) => Member::Named(name.clone()),
            None => Member::Unnamed(Index::from(index)),
        })
        .collect();
    let types: Vec<_> = data.fields.iter().map(|field| field.ty.clone()).collect();
    let clause = input.generics.make_where_clause();
    for ty in types {
        clause.predicates.push(parse_quote!(#ty: ::repool::Recycle));
    }
    let name = &input.ident;
    let (generics, arguments, clause) = input.generics.split_for_impl();
    Ok(quote! {
        impl #generics ::repool::Recycle for #name #arguments #clause {
            #[inline]
            fn recycle(&mut self) {
                #(::repool::Recycle::recycle(&mut self.#members);)*
            }

            #[inline]
            fn retained_bytes(&self) -> usize {
                0usize #(.saturating_add(::repool::Recycle::retained_bytes(&self.#members)))*
            }
        }
    })
}
